from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    import pandas as pd

    from dgmpipe.evaluation.flow_report import RK4_STEPS
    from dgmpipe.files import replacing

    rows = []
    for seed, file in zip(snakemake.params.seeds, snakemake.input, strict=True):
        numbers = json.loads(Path(file).read_text(encoding="utf-8"))
        for steps in RK4_STEPS:
            error = numbers[f"inverse_error_rk4_{steps}"]
            rows.append({"seed": seed, "rk4_steps": steps, "inverse_error": error})
    with replacing(snakemake.output[0]) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
