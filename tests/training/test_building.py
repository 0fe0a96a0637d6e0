from tfrestore.models.presets import find_preset
from tfrestore.training.building import make, make_network, make_trainer
from tfrestore.training.configuration import resolve

SMALL = ["filters=2", "depth=1", "learning_rate_schedule=cosine"]


def test_a_trainer_is_told_how_many_steps_there_will_be():
    for changes, expected in ((["epochs=3"], 21), (["epochs=3", "steps=5"], 5)):
        preset = resolve(find_preset("unet_tiny"), None, [*SMALL, *changes])
        network = make_network(preset)
        trainer = make_trainer(preset, network, make(preset, "restorer", network), 7)
        assert trainer.total_steps == expected
        assert trainer.optimizer.learning_rate > 0
