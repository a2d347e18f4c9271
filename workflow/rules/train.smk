rule train:
    input:
        data=training_data,
        generator_from=initial_generator,
    output:
        weights="<results>/models/{model}/seed_{seed}/model.safetensors",
        history="<results>/models/{model}/seed_{seed}/history.csv",
        summary="<results>/models/{model}/seed_{seed}/summary.json",
        time="<results>/models/{model}/seed_{seed}/time.json",
    log:
        "<logs>/train/{model}_seed_{seed}.log",
    benchmark:
        "<benchmarks>/train/{model}_seed_{seed}.tsv"
    conda:
        "../envs/dgmpipe.yaml"
    threads: 1
    resources:
        mem_mb=growing(config["cluster"]["training_mb"]),
        runtime=training_minutes,
        gpu=0 if config["device"] == "cpu" else 1,
    params:
        config=lambda wildcards: config["models"][wildcards.model],
        dataset=training_dataset,
        code=training_code,
        key=training_key,
        checkpoints=training_checkpoints,
    script:
        "../../scripts/train.py"
