"""What the lifecycle nodes share: the transitions that free everything, and how they are run."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from camss_ros.images.image_files import silence_decoders
from camss_ros.nodes.node_log import readable
from camss_ros.nodes.parameter_table import DeclaredParameters
from camss_ros.nodes.start_up import GivenParameters
from camss_ros.nodes.worker import Worker

REPORT_PERIOD = 1.0  # s
# s that a transition waits for what is in work; a slow or hanging device goes on by itself
CANCEL_TIME = 2.0


class ManagedNode(GivenParameters, LifecycleNode):
    """A lifecycle node whose work is done by one worker thread while it is active.

    Attributes:
        parameters: declared by the node, `autostart` among them.
    """

    parameters: DeclaredParameters

    def __init__(self, name: str, **node_arguments: Any) -> None:
        super().__init__(name, **node_arguments)
        self._state = "unconfigured"
        self._failure = ""  # why it could not be configured or activated, until it is configured
        self._worker: Worker[Any, Any] | None = None
        silence_decoders()
        self._refuse_impossible_transitions()
        # A steady clock: a paused simulation does not stop the reports.
        self._timer = self.create_timer(
            REPORT_PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _refuse_impossible_transitions(self) -> None:
        """Answer, as nodes in C++ do; before Kilted such a call ends the process (rclpy issue
        1209)."""
        service = self._service_change_state
        change_state = service.callback

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except rclpy_implementation.RCLError:
                self.get_logger().error(
                    f"transition {request.transition.label or request.transition.id} is refused: "
                    f"the node is {self._state_machine.current_state[1]}"
                )
                response.success = False
                return response

        service.callback = answer

    @abstractmethod
    def _report(self) -> None:
        """Tell what happened since the last call."""

    @abstractmethod
    def _configure(self) -> None:
        """Make what the work needs. Raises where that cannot be made."""

    @abstractmethod
    def _activate(self) -> None:
        """Start to work; the publishers are enabled. Raises where it cannot be started."""

    @abstractmethod
    def _deactivate(self) -> None:
        """Stop working; the publishers are still enabled."""

    @abstractmethod
    def _release(self) -> None:
        """Stop, and free what was made when the node was configured; harmless without it."""

    def _stop_worker(self) -> bool:
        """Give up what is in work, if anything is. False if it goes on after `CANCEL_TIME`."""
        worker, self._worker = self._worker, None
        if worker is None:
            return True
        worker.cancel()
        return worker.join(CANCEL_TIME)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make what the work needs; where that fails, the node can be configured again."""
        try:
            self._configure()
        except Exception as error:
            self._tell_failure(f"cannot configure: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._state, self._failure = "inactive", ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to work; where that fails, `on_error` follows."""
        result = super().on_activate(state)
        self._state = "active"
        try:
            self._activate()
        except Exception as error:  # which rclpy would not tell
            self._tell_failure(f"cannot activate: {error}")
            return TransitionCallbackReturn.ERROR
        return result

    def _tell_failure(self, failure: str) -> None:
        self._failure = readable(failure)
        self.get_logger().error(self._failure)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working; what was made when the node was configured stays."""
        self._deactivate()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what configuring has made."""
        self._release()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End, from any state."""
        self._release()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start over, unconfigured."""
        return self.on_cleanup(state)

    def autostart(self) -> None:
        """Configure and activate, as the parameter `autostart` asks for."""
        if (
            self.parameters["autostart"]
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            self.trigger_activate()

    def shut_down(self) -> None:
        """Make the last transition, unless somebody has made it."""
        if self._state != "finalized":
            self.trigger_shutdown()

    def destroy_node(self) -> None:
        """Leave the graph; rclpy forgets the state machine, which would keep the node in it."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def cancel(self) -> None:
        """Give up what is in work, from any thread; returns at once."""
        worker = self._worker  # the executor may let go of it meanwhile
        if worker is not None:
            worker.cancel()
