for evaluation in EVALUATIONS:
    models = subjects(CONFIG, evaluation)
    if not models:
        continue

    rule:
        name:
            evaluation.name
        input:
            model=subject_model,
            images=rules.fetch_images.output if evaluation.images else [],
            judge=judge_of(evaluation),
        output:
            **{
                name: f"<results>/evaluation/{{model}}/seed_{{seed}}/{file}"
                for name, file in evaluation.outputs.items()
            },
        log:
            f"<logs>/{evaluation.name}/{{model}}_seed_{{seed}}.log",
        benchmark:
            f"<benchmarks>/{evaluation.name}/{{model}}_seed_{{seed}}.tsv"
        wildcard_constraints:
            model=alternatives(models),
        # What takes longest begins first, or it ends alone on one core.
        priority: CONFIG.cluster.evaluation_minutes.get(evaluation.name, 0)
        localrule: evaluation.local
        conda:
            "../envs/dgmpipe.yaml"
        threads: 1
        resources:
            mem_mb=growing(CONFIG.cluster.evaluation_mb),
            runtime=evaluation_minutes(evaluation.name),
        params:
            function=evaluation.function,
            model=settings_of,
            settings=evaluation.arguments(CONFIG),
            clusters=(
                CONFIG.data.images.test_clusters.model_dump()
                if evaluation.images
                else {}
            ),
            code=subject_code(evaluation),
        script:
            "../../scripts/evaluate.py"


if GANS := CONFIG.of_family("gan"):

    rule energy_floor:
        input:
            rules.fetch_images.output,
        output:
            "<results>/evaluation/energy_floor.npz",
        log:
            "<logs>/energy_floor.log",
        benchmark:
            "<benchmarks>/energy_floor.tsv"
        conda:
            "../envs/dgmpipe.yaml"
        threads: 1
        resources:
            mem_mb=growing(CONFIG.cluster.evaluation_mb),
            runtime=evaluation_minutes("energy_floor"),
        params:
            # The GANs' energy distance during training is measured on as many images.
            held_out_size=CONFIG.models[GANS[0]].held_out_size,
            num_draws=CONFIG.evaluation.energy.num_floor_draws,
            seed=SHOWN_SEED,
            code=code("dgmpipe.evaluation.energy_report"),
        script:
            "../../scripts/energy_floor.py"
