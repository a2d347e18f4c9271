localrules:
    fetch_images,
    show_images,
    show_moons,


rule fetch_images:
    output:
        multiext(
            "<images>/",
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
    log:
        "<logs>/fetch_images.log",
    benchmark:
        "<benchmarks>/fetch_images.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        # Not the folder that the files may come from: the same bytes make the same results.
        md5=config["data"]["images"]["md5"],
    script:
        "../../scripts/fetch_images.py"


rule show_moons:
    output:
        "<results>/data/moons.npz",
    log:
        "<logs>/show_moons.log",
    benchmark:
        "<benchmarks>/show_moons.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    params:
        moons=config["data"]["moons"],
        seed=config["seeds"][0],
        code=code("show_moons.py"),
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
    conda:
        "../envs/dgmpipe.yaml"
    params:
        num_images=config["evaluation"]["samples"]["num_images"],
        seed=config["seeds"][0],
        code=code("show_images.py"),
    script:
        "../../scripts/show_images.py"
