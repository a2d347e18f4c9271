from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.evaluation.subject import Subject
    from dgmpipe.files import load_function, write_results

    def folder(files):
        return Path(files[0]).parent if files else None

    subject = Subject(
        seed=int(snakemake.wildcards.seed),
        settings=snakemake.params.model,
        folder=folder(snakemake.input.model),
        images=folder(snakemake.input.images),
        judge=folder(snakemake.input.judge),
        clusters=snakemake.params.clusters,
    )
    evaluate = load_function(snakemake.params.function)
    write_results(evaluate(subject, **snakemake.params.settings), dict(snakemake.output.items()))
