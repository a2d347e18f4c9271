from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    import pandas as pd

    from dgmpipe.files import replacing

    inverse_errors, rows = [], []
    for model_file, numbers_file in zip(
        snakemake.input.summaries, snakemake.input.numbers, strict=True
    ):
        summary = json.loads(Path(model_file).read_text())
        row = {key: summary[key] for key in ("model", "seed", "parameters")}
        for name, value in json.loads(Path(numbers_file).read_text()).items():
            if name.startswith("inverse_error_rk4_"):
                steps = int(name.removeprefix("inverse_error_rk4_"))
                inverse_errors.append(
                    {"seed": row["seed"], "rk4_steps": steps, "inverse_error": value}
                )
            else:
                row[name] = value
        rows.append(row)
    with replacing(snakemake.output.flows) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    with replacing(snakemake.output.inverse_errors) as temporary:
        table = pd.DataFrame(inverse_errors, columns=["seed", "rk4_steps", "inverse_error"])
        table.sort_values(["seed", "rk4_steps"]).to_csv(temporary, index=False)
