rule vae_posterior:
    input:
        images=rules.fetch_images.output,
        model=collect(rules.train.output, model="vae", allow_missing=True),
    output:
        "<results>/evaluation/vae/seed_{seed}/posterior.npz",
    log:
        "<logs>/vae_posterior/seed_{seed}.log",
    benchmark:
        "<benchmarks>/vae_posterior/seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("vae_posterior"),
    params:
        settings=config["evaluation"]["posterior"],
        code=code("vae_posterior.py", "dgmpipe.models.vae"),
    script:
        "../../scripts/vae_posterior.py"


rule vae_evidence:
    input:
        images=rules.fetch_images.output,
        model=collect(rules.train.output, model="vae", allow_missing=True),
    output:
        "<results>/evaluation/vae/seed_{seed}/evidence.csv",
    log:
        "<logs>/vae_evidence/seed_{seed}.log",
    benchmark:
        "<benchmarks>/vae_evidence/seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("vae_evidence"),
    params:
        settings=config["evaluation"]["evidence"],
        code=code("vae_evidence.py", "dgmpipe.models.vae"),
    script:
        "../../scripts/vae_evidence.py"


rule vae_latent:
    input:
        images=rules.fetch_images.output,
        model=collect(rules.train.output, model="vae", allow_missing=True),
    output:
        "<results>/evaluation/vae/seed_{seed}/latent.npz",
    log:
        "<logs>/vae_latent/seed_{seed}.log",
    benchmark:
        "<benchmarks>/vae_latent/seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("vae_latent"),
    params:
        settings=config["evaluation"]["latent"],
        code=code("vae_latent.py", "dgmpipe.models.vae"),
    script:
        "../../scripts/vae_latent.py"


rule generate_images:
    input:
        rules.train.output,
    output:
        "<results>/evaluation/{model}/seed_{seed}/samples.npz",
    log:
        "<logs>/generate_images/{model}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/generate_images/{model}_seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        settings=config["evaluation"]["samples"],
        code=lambda wildcards: code(
            "generate_images.py", MODELS[wildcards.model].module
        ),
    script:
        "../../scripts/generate_images.py"


rule evaluate_flow:
    input:
        rules.train.output,
    output:
        arrays="<results>/evaluation/{model}/seed_{seed}/flow.npz",
        numbers="<results>/evaluation/{model}/seed_{seed}/flow.json",
    log:
        "<logs>/evaluate_flow/{model}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/evaluate_flow/{model}_seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("evaluate_flow"),
    params:
        noise=config["data"]["moons"]["noise"],
        settings=config["evaluation"]["flows"],
        code=lambda wildcards: code("evaluate_flow.py", MODELS[wildcards.model].module),
    script:
        "../../scripts/evaluate_flow.py"


rule energy_test:
    input:
        images=rules.fetch_images.output,
        model=source_model,
    output:
        numbers="<results>/evaluation/{source}/seed_{seed}/energy.json",
        contributions="<results>/evaluation/{source}/seed_{seed}/energy.npz",
    log:
        "<logs>/energy_test/{source}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/energy_test/{source}_seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("energy_test"),
    params:
        num_images=config["evaluation"]["energy"]["num_images"],
        num_permutations=config["evaluation"]["energy"]["num_permutations"],
        clusters=config["data"]["images"]["test_clusters"],
        code=source_code("energy_test.py"),
    script:
        "../../scripts/energy_test.py"


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
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("energy_floor"),
    params:
        # The GANs' energy distance during training is measured on as many images.
        held_out_size=lambda wildcards: config["models"][GANS[0]]["held_out_size"],
        num_draws=config["evaluation"]["energy"]["num_floor_draws"],
        seed=SHOWN_SEED,
        code=code("energy_floor.py"),
    script:
        "../../scripts/energy_floor.py"


rule sample_quality:
    input:
        images=rules.fetch_images.output,
        model=source_model,
        classifier=collect(rules.train.output, model="classifier", seed=SHOWN_SEED),
    output:
        numbers="<results>/evaluation/{source}/seed_{seed}/quality.json",
        classes="<results>/evaluation/{source}/seed_{seed}/classes.csv",
    log:
        "<logs>/sample_quality/{source}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/sample_quality/{source}_seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["evaluation_mb"]),
        runtime=evaluation_minutes("sample_quality"),
    params:
        settings=config["evaluation"]["quality"],
        clusters=config["data"]["images"]["test_clusters"],
        code=source_code("sample_quality.py", "dgmpipe.models.classifier"),
    script:
        "../../scripts/sample_quality.py"


localrules:
    class_histograms,
    flow_table,
    generate_images,
    generator_differences,
    generator_tables,
    otflow_inverse_error,
    training_times,
    vae_evidence_table,


rule flow_table:
    input:
        summaries=collect(rules.train.output.summary, model=FLOWS, seed=config["seeds"]),
        numbers=collect(
            rules.evaluate_flow.output.numbers, model=FLOWS, seed=config["seeds"]
        ),
    output:
        report(
            "<results>/tables/flows.csv",
            category="Section 3: normalizing flows",
            caption=caption("flows"),
            labels={"table": "Likelihood and its distance to the truth"},
        ),
    log:
        "<logs>/flow_table.log",
    benchmark:
        "<benchmarks>/flow_table.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("flow_table.py"),
    script:
        "../../scripts/flow_table.py"


rule otflow_inverse_error:
    input:
        collect(
            rules.evaluate_flow.output.numbers, model="otflow", seed=config["seeds"]
        ),
    output:
        report(
            "<results>/tables/otflow_inverse_error.csv",
            category="Section 3: normalizing flows",
            caption=caption("otflow_inverse_error"),
            labels={"table": "Inverse error of OT-Flow"},
        ),
    log:
        "<logs>/otflow_inverse_error.log",
    benchmark:
        "<benchmarks>/otflow_inverse_error.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        seeds=config["seeds"],
        code=code("otflow_inverse_error.py"),
    script:
        "../../scripts/otflow_inverse_error.py"


rule training_times:
    input:
        summaries=of_all_trainings(rules.train.output.summary),
        times=of_all_trainings(rules.train.output.time),
        benchmarks=of_all_trainings(rules.train.benchmark),
    output:
        report(
            "<results>/tables/training_times.csv",
            category="Section 5: generative adversarial networks",
            caption=caption("training_times"),
            labels={"table": "Time and memory of the trainings"},
        ),
    log:
        "<logs>/training_times.log",
    benchmark:
        "<benchmarks>/training_times.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("training_times.py"),
    script:
        "../../scripts/training_times.py"


rule vae_evidence_table:
    input:
        images=rules.fetch_images.output,
        tables=collect(rules.vae_evidence.output, seed=config["seeds"]),
    output:
        report(
            "<results>/tables/vae_evidence.csv",
            category="Section 4: variational autoencoder",
            caption=caption("vae_evidence"),
            labels={"table": "Evidence and its lower bound"},
        ),
    log:
        "<logs>/vae_evidence_table.log",
    benchmark:
        "<benchmarks>/vae_evidence_table.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        seeds=config["seeds"],
        clusters=config["data"]["images"]["test_clusters"],
        code=code("vae_evidence_table.py"),
    script:
        "../../scripts/vae_evidence_table.py"


rule generator_tables:
    input:
        energy=collect(
            rules.energy_test.output.numbers,
            source=IMAGE_SOURCES,
            seed=config["seeds"],
        ),
        quality=collect(
            rules.sample_quality.output.numbers, source=JUDGED, seed=config["seeds"]
        ),
    output:
        generators=report(
            "<results>/tables/generators.csv",
            category="Section 5: generative adversarial networks",
            caption=caption("generators"),
            labels={"table": "Generators against the test images"},
        ),
        summary=report(
            "<results>/tables/generators_summary.csv",
            category="Section 5: generative adversarial networks",
            caption=caption("generators_summary"),
            labels={"table": "Generators, mean and deviation over seeds"},
        ),
    log:
        "<logs>/generator_tables.log",
    benchmark:
        "<benchmarks>/generator_tables.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        sources=IMAGE_SOURCES,
        seeds=config["seeds"],
        code=code("generator_tables.py"),
    script:
        "../../scripts/generator_tables.py"


rule generator_differences:
    input:
        images=rules.fetch_images.output,
        energy=collect(
            rules.energy_test.output.numbers,
            source=IMAGE_SOURCES,
            seed=config["seeds"],
        ),
        contributions=collect(
            rules.energy_test.output.contributions,
            source=IMAGE_SOURCES,
            seed=config["seeds"],
        ),
    output:
        report(
            "<results>/tables/generator_differences.csv",
            category="Section 5: generative adversarial networks",
            caption=caption("generator_differences"),
            labels={"table": "Generators against one another"},
        ),
    log:
        "<logs>/generator_differences.log",
    benchmark:
        "<benchmarks>/generator_differences.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        sources=IMAGE_SOURCES,
        seeds=config["seeds"],
        latent_dims={
            model: config["models"][model]["latent_dim"] for model in IMAGE_MODELS
        },
        clusters=config["data"]["images"]["test_clusters"],
        code=code("generator_differences.py"),
    script:
        "../../scripts/generator_differences.py"


rule class_histograms:
    input:
        collect(
            rules.sample_quality.output.classes, source=JUDGED, seed=config["seeds"]
        ),
    output:
        report(
            "<results>/tables/class_histograms.csv",
            category="Section 5: generative adversarial networks",
            caption=caption("class_histograms"),
            labels={"table": "Digits that the generators draw"},
        ),
    log:
        "<logs>/class_histograms.log",
    benchmark:
        "<benchmarks>/class_histograms.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        sources=JUDGED,
        seeds=config["seeds"],
        code=code("class_histograms.py"),
    script:
        "../../scripts/class_histograms.py"
