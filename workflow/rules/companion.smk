# One page in which a reader plays with the models; MLflow gets a copy, and the report links to it.
rule companion:
    input:
        **{
            name: [f"<results>/{path}" for path in paths]
            for name, paths in companion_files(CONFIG).items()
        },
        images=rules.fetch_images.output if CONFIG.of_family("vae", "gan") else [],
    output:
        html="<results>/companion.html",
    log:
        "<logs>/companion.log",
    benchmark:
        "<benchmarks>/companion.tsv"
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        function="dgmpipe.pages.companion.build:companion_page",
        arguments=companion_params(CONFIG),
        code=code("dgmpipe.pages.companion.build"),
    script:
        "../../scripts/exhibit.py"
