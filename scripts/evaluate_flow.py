from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.evaluation.flow_report import flow_report
    from dgmpipe.files import save_arrays, write_json
    from dgmpipe.models.storage import load_model

    arrays, numbers = flow_report(
        load_model(Path(snakemake.input[0]).parent),
        noise=snakemake.params.noise,
        seed=int(snakemake.wildcards.seed),
        **snakemake.params.settings,
    )
    save_arrays(snakemake.output.arrays, arrays)
    write_json(numbers, snakemake.output.numbers)
