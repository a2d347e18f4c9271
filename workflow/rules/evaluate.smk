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


localrules:
    vae_evidence_table,


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
