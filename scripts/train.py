from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    from dgmpipe.config import read_config
    from dgmpipe.files import write_json
    from dgmpipe.plan.released import (
        find_released,
        provenance_of,
        take_released,
        why_not_released,
    )
    from dgmpipe.tracking.runs import RunLogger

    config, model, seed = (
        read_config(snakemake.config),
        snakemake.wildcards.model,
        int(snakemake.wildcards.seed),
    )
    settings, data, start = config.models[model], snakemake.input.data, snakemake.input.start
    released = find_released(snakemake.params.key) if config.released else None
    if released:  # to copy files takes neither torch nor a GPU
        device = "cpu"
    else:
        import torch

        from dgmpipe.jobs.devices import choose_device
        from dgmpipe.training.data import dataset_from
        from dgmpipe.training.run import train_model

        torch.set_num_threads(snakemake.threads)
        device = choose_device(config.device, trainings_per_gpu=config.cluster.trainings_per_gpu)
    logger = RunLogger(
        config,
        model,
        seed=seed,
        data=snakemake.params.data,
        key=snakemake.params.key,
        device=str(device),
        invocation=Path("results", config.tier, "invocation.json"),
        at_once=not released,
        origin=provenance_of(released) if released else None,
    )
    folder = Path(snakemake.output.weights).parent
    with logger:
        if released:
            print(f"{model}, seed {seed}: taken from the released trainings", flush=True)
            for row in take_released(released, folder):
                logger.log_row(row)
        else:
            if config.released:
                print(why_not_released(config, model, seed), flush=True)
            images = Path(data[0]).parent if data else None
            begin = Path(start[0]).parent if start else None
            train_model(
                model,
                settings,
                dataset_from(settings, images, begin),
                seed=seed,
                device=device,
                folder=folder,
                checkpoints=snakemake.params.checkpoints,
                start=begin,
                on_evaluation=logger.log_row,
            )
            time = json.loads((folder / "time.json").read_text(encoding="utf-8"))
            write_json(time | {"device": logger.device}, folder / "time.json")
        logger.log_files(snakemake.output)
