import signal

import pytest
import trio
import trio.testing

from trio_ws._services import ServiceNursery


async def test_services_are_stopped_at_the_end() -> None:
    """Leaving the block cancels the services and waits for them; an exception comes out bare."""
    ended = 0

    async def service() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            ended += 1

    error = ValueError("bare")
    with pytest.raises(ValueError) as caught:
        async with ServiceNursery() as nursery:
            nursery.start_soon(service)
            nursery.start_soon(service)
            await trio.testing.wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert ended == 2


async def test_an_outer_cancellation_is_not_eaten() -> None:
    """Stopping the services neither raises `trio.Cancelled` of its own nor hides an outer one."""
    with trio.CancelScope() as scope:
        async with ServiceNursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
        await trio.lowlevel.checkpoint()
        pytest.fail("the cancellation is lost")
    assert scope.cancelled_caught


@pytest.mark.checklist("CA07")
def test_control_c_while_services_stop() -> None:
    """Control-C that arrives while the services stop is a bare KeyboardInterrupt."""

    async def service() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await stop()

    @trio.lowlevel.enable_ki_protection
    async def stop() -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def main() -> None:
        async with ServiceNursery() as nursery:
            nursery.start_soon(service)
            await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
