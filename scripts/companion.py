from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.files import replacing
    from dgmpipe.pages.companion.build import companion_page

    files = {
        name: [paths] if isinstance(paths, str) else list(paths)
        for name, paths in snakemake.input.items()
    }
    page = companion_page(files, **snakemake.params.arguments)
    with replacing(Path(snakemake.output[0])) as temporary:
        temporary.write_text(page, encoding="utf-8")
