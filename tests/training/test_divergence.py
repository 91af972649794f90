import pytest

from tfqkd.training.divergence import RequireFiniteLoss


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_ends_training(loss):
    callback = RequireFiniteLoss("float student (cnn2), seed 0")
    callback.on_epoch_begin(4)
    callback.on_train_batch_end(0, {"loss": 1e30})
    with pytest.raises(ValueError) as error:
        callback.on_train_batch_end(1, {"loss": loss})
    assert str(error.value) == (
        f"The loss must stay finite. Received: {loss} in epoch 5 of the float student (cnn2), seed 0. "
        "Lower its learning rate, or let it rise over some --warmup_epochs."
    )
