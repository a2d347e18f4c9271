from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import torch

    from dgmpipe.devices import choose_device
    from dgmpipe.tracking import RunLogger, datasets
    from dgmpipe.training.run import train_model

    torch.set_num_threads(snakemake.threads)
    config, model, seed = snakemake.config, snakemake.wildcards.model, int(snakemake.wildcards.seed)
    generator_from = snakemake.input.generator_from
    device = choose_device(
        config["device"], trainings_per_gpu=config["cluster"]["trainings_per_gpu"]
    )
    logger = RunLogger(
        tier=config["tier"],
        model=model,
        seed=seed,
        config=snakemake.params.config,
        data=datasets(config)["images" if snakemake.input.data else "moons"],
        key=snakemake.params.key,
        device=str(device),
        invocation=Path("results", config["tier"], "invocation.json"),
    )
    with logger:
        train_model(
            model,
            snakemake.params.config,
            seed=seed,
            device=device,
            images=Path("results/data", config["data"]["images"]["name"]),
            moons_noise=config["data"]["moons"]["noise"],
            folder=Path(snakemake.output.weights).parent,
            checkpoints=snakemake.params.checkpoints,
            generator_from=Path(generator_from[0]).parent if generator_from else None,
            on_evaluation=logger.log_row,
        )
        logger.log_files(snakemake.output)
