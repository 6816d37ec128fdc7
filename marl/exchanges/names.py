"""The names of the built-in exchanges. Commands list them in their help, so nothing is imported here."""

AUTO = "auto"  # one of them, chosen when the children are known

EXCHANGES = {
    "weights": "marl.exchanges.weights.exchange:Weights",
    "gradients": "marl.exchanges.gradients.exchange:Gradients",
    "pairwise": "marl.exchanges.pairwise.exchange:Pairwise",
    "experience": "marl.exchanges.experience.exchange:Experience",
    "observations": "marl.exchanges.observations.exchange:Observations",
}
