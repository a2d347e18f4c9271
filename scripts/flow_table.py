from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    import pandas as pd

    from dgmpipe.files import replacing

    rows = []
    for model_file, numbers_file in zip(
        snakemake.input.summaries, snakemake.input.numbers, strict=True
    ):
        summary = json.loads(Path(model_file).read_text(encoding="utf-8"))
        row = {key: summary[key] for key in ("model", "seed", "parameters")}
        for name, value in json.loads(Path(numbers_file).read_text(encoding="utf-8")).items():
            if not name.startswith("inverse_error_rk4_"):  # these have a table of their own
                row[name] = value
        rows.append(row)
    with replacing(snakemake.output[0]) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
