# A rule cannot wait for itself: what starts from another's generator has a rule of its own.
for depth, models in enumerate(levels(CONFIG)):

    rule:
        name:
            f"train_from_{depth}" if depth > 1 else ("train", "train_from")[depth]
        input:
            data=training_data,
            start=training_start,
        output:
            weights="<results>/models/{model}/seed_{seed}/model.safetensors",
            history="<results>/models/{model}/seed_{seed}/history.csv",
            snapshots="<results>/models/{model}/seed_{seed}/snapshots.npz",
            summary="<results>/models/{model}/seed_{seed}/summary.json",
            time="<results>/models/{model}/seed_{seed}/time.json",
        log:
            "<logs>/train/{model}_seed_{seed}.log",
        benchmark:
            "<benchmarks>/train/{model}_seed_{seed}.tsv"
        wildcard_constraints:
            model=alternatives(models),
        # Others start from it, and most of the time is theirs.
        priority: 1000
        conda:
            "../envs/dgmpipe.yaml"
        threads: 1
        resources:
            mem_mb=growing(CONFIG.cluster.training_mb),
            runtime=training_minutes,
            gpu=0 if CONFIG.device == "cpu" else 1,
        params:
            # What is without effect on the result, such as the title, reruns nothing.
            settings=lambda wildcards: effective_settings(CONFIG, wildcards.model),
            data=lambda wildcards: DATA_DIGESTS[wildcards.model],
            code=lambda wildcards: training_codes()[wildcards.model],
            key=key_of,
            checkpoints=checkpoints_of,
        script:
            "../../scripts/train.py"
