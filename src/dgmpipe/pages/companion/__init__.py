"""The companion: one page, without a network, in which a reader plays with a tier's models."""
