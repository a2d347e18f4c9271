# Images that are not in the four files of MNIST are kept in one.
MD5 = CONFIG.data.images.md5
IMAGE_FILES = list(MD5.model_dump(by_alias=True)) if MD5 else ["images.npz"]


rule fetch_images:
    output:
        # Not deleted before the job, as another tier may be reading them.
        update(multiext("<images>/", *IMAGE_FILES)),
    log:
        "<logs>/fetch_images.log",
    benchmark:
        "<benchmarks>/fetch_images.tsv"
    localrule: True
    conda:
        "../envs/dgmpipe.yaml"
    params:
        # Not the folder that the files may come from: the same bytes make the same results.
        md5=MD5 and MD5.model_dump(by_alias=True),
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
