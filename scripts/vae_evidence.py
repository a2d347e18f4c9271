from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.evidence import evidence_of_images
    from dgmpipe.files import replacing
    from dgmpipe.models.storage import load_model

    vae = load_model(Path(snakemake.input.model[0]).parent)
    images, labels = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    table = evidence_of_images(vae, images, labels, **snakemake.params.settings)
    with replacing(snakemake.output[0]) as temporary:
        table.to_csv(temporary, index=False)
