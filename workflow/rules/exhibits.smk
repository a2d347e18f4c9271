for exhibit in EXHIBITS:
    shown, *further = exhibit.outputs.items()

    rule:
        name:
            exhibit.name
        input:
            **{
                name: [f"<results>/{path}" for path in paths]
                for name, paths in exhibit.files.items()
            },
        output:
            **{
                shown[0]: report(
                    f"<results>/{shown[1]}",
                    category=exhibit.section,
                    caption=caption(exhibit.name),
                    labels={"figure" if exhibit.is_figure else "table": exhibit.title},
                )
            },
            **{name: f"<results>/{file}" for name, file in further},
        log:
            f"<logs>/{exhibit.name}.log",
        benchmark:
            f"<benchmarks>/{exhibit.name}.tsv"
        localrule: True
        conda:
            "../envs/dgmpipe.yaml"
        params:
            function=exhibit.function,
            arguments=exhibit.params,
            code=code(exhibit.module),
        script:
            "../../scripts/exhibit.py"


# Any model's figure, of any seed: snakemake results/laptop/figures/any/flow_otflow_seed_1.png
rule figure_of_model:
    input:
        arrays=lambda wildcards: [
            f"<results>/{path}" for path in asked_figure(wildcards).files["arrays"]
        ],
    output:
        png="<results>/figures/any/{figure}_{model}_seed_{seed}.png",
        pdf="<results>/figures/any/{figure}_{model}_seed_{seed}.pdf",
    log:
        "<logs>/figure_of_model/{figure}_{model}_seed_{seed}.log",
    wildcard_constraints:
        figure="flow|posterior|latent",
        model=alternatives(CONFIG.models),
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        function=lambda wildcards: asked_figure(wildcards).function,
        arguments=lambda wildcards: asked_figure(wildcards).params,
        code=lambda wildcards: code(asked_figure(wildcards).module),
    script:
        "../../scripts/exhibit.py"
