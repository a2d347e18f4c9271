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
    resources:
        mem_mb=2000,
        runtime=30,
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
    resources:
        mem_mb=2000,
        runtime=120,
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
    resources:
        mem_mb=2000,
        runtime=30,
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
    resources:
        mem_mb=1000,
        runtime=10,
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
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        noise=config["data"]["moons"]["noise"],
        settings=config["evaluation"]["flows"],
        code=lambda wildcards: code("evaluate_flow.py", MODELS[wildcards.model].module),
    script:
        "../../scripts/evaluate_flow.py"


localrules:
    flow_tables,
    training_times,
    vae_evidence_table,


rule flow_tables:
    input:
        summaries=collect(rules.train.output.summary, model=FLOWS, seed=config["seeds"]),
        numbers=collect(
            rules.evaluate_flow.output.numbers, model=FLOWS, seed=config["seeds"]
        ),
    output:
        flows=report(
            "<results>/tables/flows.csv",
            category="Normalizing flows",
            caption="../report/flows.rst",
            labels={"table": "Likelihood and its distance to the truth"},
        ),
        inverse_errors=report(
            "<results>/tables/otflow_inverse_error.csv",
            category="Normalizing flows",
            caption="../report/otflow_inverse_error.rst",
            labels={"table": "Inverse error of OT-Flow"},
        ),
    log:
        "<logs>/flow_tables.log",
    benchmark:
        "<benchmarks>/flow_tables.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("flow_tables.py"),
    script:
        "../../scripts/flow_tables.py"


rule training_times:
    input:
        summaries=collect(
            rules.train.output.summary, model=config["models"], seed=config["seeds"]
        ),
        benchmarks=collect(
            rules.train.benchmark, model=config["models"], seed=config["seeds"]
        ),
    output:
        report(
            "<results>/tables/training_times.csv",
            category="Comparison",
            caption="../report/training_times.rst",
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
        collect(rules.vae_evidence.output, seed=config["seeds"]),
    output:
        report(
            "<results>/tables/vae_evidence.csv",
            category="Variational autoencoder",
            caption="../report/vae_evidence.rst",
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
        code=code("vae_evidence_table.py"),
    script:
        "../../scripts/vae_evidence_table.py"
