rule fetch_images:
    output:
        # Not deleted before the job, as another tier may be reading them.
        update(
            multiext(
                "<images>/",
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            )
        ),
    log:
        "<logs>/fetch_images.log",
    benchmark:
        "<benchmarks>/fetch_images.tsv"
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        # Not the folder that the files may come from: the same bytes make the same results.
        md5=CONFIG.data.images.md5.model_dump(by_alias=True),
    script:
        "../../scripts/fetch_images.py"


rule show_moons:
    output:
        "<results>/data/moons.npz",
    log:
        "<logs>/show_moons.log",
    benchmark:
        "<benchmarks>/show_moons.tsv"
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        moons=CONFIG.data.moons.model_dump(),
        seed=SHOWN_SEED,
        code=code("dgmpipe.data.shown"),
    script:
        "../../scripts/show_moons.py"


rule show_images:
    input:
        rules.fetch_images.output,
    output:
        "<results>/data/images.npz",
    log:
        "<logs>/show_images.log",
    benchmark:
        "<benchmarks>/show_images.tsv"
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        num_images=CONFIG.evaluation.samples.num_images,
        seed=SHOWN_SEED,
        code=code("dgmpipe.data.shown"),
    script:
        "../../scripts/show_images.py"
