from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import pandas as pd

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import evenly_spread, load_mnist
    from dgmpipe.evaluation.judge import examine
    from dgmpipe.files import replacing
    from dgmpipe.models.classifier import Classifier
    from dgmpipe.models.storage import load_model

    images, labels = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    chosen = evenly_spread(snakemake.params.num_images, len(images))
    classifier = load_model(Path(snakemake.input.classifier[0]).parent, Classifier)
    rows = examine(classifier, to_float(images[chosen]), labels[chosen], snakemake.params.seed)
    with replacing(snakemake.output[0]) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
