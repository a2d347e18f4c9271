localrules:
    figure_01,
    figure_02,
    figure_03,
    figure_04,
    figure_05,
    figure_06,
    figure_07,
    figure_08,
    figure_09,
    figure_10,
    figure_11,


rule figure_01:
    input:
        f"<results>/evaluation/realnvp/seed_{SHOWN_SEED}/flow.npz",
    output:
        png=report(
            "<results>/figures/figure_01_idea.png",
            category="Section 2: the problem and its examples",
            caption=caption("figure_01_idea"),
            labels={"figure": "1: a deep generative model"},
        ),
        pdf="<results>/figures/figure_01_idea.pdf",
    log:
        "<logs>/figure_01.log",
    benchmark:
        "<benchmarks>/figure_01.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_01.py"),
    script:
        "../../scripts/figure_01.py"


rule figure_02:
    input:
        "<results>/data/moons.npz",
    output:
        png=report(
            "<results>/figures/figure_02_moons.png",
            category="Section 2: the problem and its examples",
            caption=caption("figure_02_moons"),
            labels={"figure": "2: two moons"},
        ),
        pdf="<results>/figures/figure_02_moons.pdf",
    log:
        "<logs>/figure_02.log",
    benchmark:
        "<benchmarks>/figure_02.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_02.py"),
    script:
        "../../scripts/figure_02.py"


rule figure_03:
    input:
        "<results>/data/images.npz",
    output:
        png=report(
            "<results>/figures/figure_03_mnist.png",
            category="Section 2: the problem and its examples",
            caption=caption("figure_03_mnist"),
            labels={"figure": "3: MNIST"},
        ),
        pdf="<results>/figures/figure_03_mnist.pdf",
    log:
        "<logs>/figure_03.log",
    benchmark:
        "<benchmarks>/figure_03.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_03.py"),
    script:
        "../../scripts/figure_03.py"


rule figure_04:
    output:
        png=report(
            "<results>/figures/figure_04_objective.png",
            category="Section 3: normalizing flows",
            caption=caption("figure_04_objective"),
            labels={"figure": "4: objective of an affine flow"},
        ),
        pdf="<results>/figures/figure_04_objective.pdf",
    log:
        "<logs>/figure_04.log",
    benchmark:
        "<benchmarks>/figure_04.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_04.py"),
    script:
        "../../scripts/figure_04.py"


rule figure_05:
    input:
        f"<results>/evaluation/realnvp/seed_{SHOWN_SEED}/flow.npz",
    output:
        png=report(
            "<results>/figures/figure_05_realnvp.png",
            category="Section 3: normalizing flows",
            caption=caption("figure_05_realnvp"),
            labels={"figure": "5: Real NVP"},
        ),
        pdf="<results>/figures/figure_05_realnvp.pdf",
    log:
        "<logs>/figure_05.log",
    benchmark:
        "<benchmarks>/figure_05.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        title=MODELS["realnvp"].title,
        code=code("figure_flow.py"),
    script:
        "../../scripts/figure_flow.py"


rule figure_06:
    input:
        f"<results>/evaluation/otflow/seed_{SHOWN_SEED}/flow.npz",
    output:
        png=report(
            "<results>/figures/figure_06_otflow.png",
            category="Section 3: normalizing flows",
            caption=caption("figure_06_otflow"),
            labels={"figure": "6: OT-Flow"},
        ),
        pdf="<results>/figures/figure_06_otflow.pdf",
    log:
        "<logs>/figure_06.log",
    benchmark:
        "<benchmarks>/figure_06.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        title=MODELS["otflow"].title,
        code=code("figure_flow.py"),
    script:
        "../../scripts/figure_flow.py"


rule figure_07:
    input:
        f"<results>/evaluation/vae/seed_{SHOWN_SEED}/posterior.npz",
    output:
        png=report(
            "<results>/figures/figure_07_posterior.png",
            category="Section 4: variational autoencoder",
            caption=caption("figure_07_posterior"),
            labels={"figure": "7: posteriors"},
        ),
        pdf="<results>/figures/figure_07_posterior.pdf",
    log:
        "<logs>/figure_07.log",
    benchmark:
        "<benchmarks>/figure_07.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_07.py"),
    script:
        "../../scripts/figure_07.py"


rule figure_08:
    input:
        f"<results>/evaluation/vae/seed_{SHOWN_SEED}/latent.npz",
    output:
        png=report(
            "<results>/figures/figure_08_latent.png",
            category="Section 4: variational autoencoder",
            caption=caption("figure_08_latent"),
            labels={"figure": "8: latent space"},
        ),
        pdf="<results>/figures/figure_08_latent.pdf",
    log:
        "<logs>/figure_08.log",
    benchmark:
        "<benchmarks>/figure_08.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        code=code("figure_08.py"),
    script:
        "../../scripts/figure_08.py"


rule figure_09:
    input:
        images="<results>/data/images.npz",
        samples=collect(
            "<results>/evaluation/{model}/seed_{seed}/samples.npz",
            model=IMAGE_MODELS,
            seed=SHOWN_SEED,
        ),
    output:
        png=report(
            "<results>/figures/figure_09_samples.png",
            category="Section 5: generative adversarial networks",
            caption=caption("figure_09_samples"),
            labels={"figure": "9: samples"},
        ),
        pdf="<results>/figures/figure_09_samples.pdf",
    log:
        "<logs>/figure_09.log",
    benchmark:
        "<benchmarks>/figure_09.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        titles=[MODELS[model].title for model in IMAGE_MODELS],
        code=code("figure_09.py"),
    script:
        "../../scripts/figure_09.py"


rule figure_10:
    input:
        collect(
            "<results>/evaluation/{model}/seed_{seed}/samples.npz",
            model=INTERPOLATED,
            seed=SHOWN_SEED,
        ),
    output:
        png=report(
            "<results>/figures/figure_10_interpolation.png",
            category="Section 5: generative adversarial networks",
            caption=caption("figure_10_interpolation"),
            labels={"figure": "10: interpolation"},
        ),
        pdf="<results>/figures/figure_10_interpolation.pdf",
    log:
        "<logs>/figure_10.log",
    benchmark:
        "<benchmarks>/figure_10.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        titles=[MODELS[model].title for model in INTERPOLATED],
        code=code("figure_10.py"),
    script:
        "../../scripts/figure_10.py"


rule figure_11:
    input:
        histories=collect(rules.train.output.history, model=GANS, seed=config["seeds"]),
        floor=rules.energy_floor.output[0],
    output:
        png=report(
            "<results>/figures/figure_11_energy_distance.png",
            category="Section 5: generative adversarial networks",
            caption=caption("figure_11_energy_distance"),
            labels={"figure": "11: energy distance over training"},
        ),
        pdf="<results>/figures/figure_11_energy_distance.pdf",
    log:
        "<logs>/figure_11.log",
    benchmark:
        "<benchmarks>/figure_11.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        models=GANS,
        seeds=config["seeds"],
        titles=[MODELS[model].title for model in GANS],
        code=code("figure_11.py"),
    script:
        "../../scripts/figure_11.py"
