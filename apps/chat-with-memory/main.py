"""A conversation whose history is the session's state: it goes on where a lost worker stopped."""

import json

from endpoint import Endpoint
from settings import needed, settings_of

from sojourn import App, Error, serve

MESSAGE_BYTES = 64 * 1024
COUNTED = ("prompt_tokens", "completion_tokens", "total_tokens")


class ChatWithMemory(App):
    def setup(self, session):
        self.settings = settings_of(session.setup)
        self.endpoint = None

    def run(self, session, input):
        action = input.get("action", "chat") if isinstance(input, dict) else None
        actions = {"init": self.init, "chat": self.chat, "history": lambda session, _: self.history(session)}
        if not isinstance(action, str) or action not in actions:
            raise refused('the input is {"message": TEXT}, {"action": "init"} or {"action": "history"}')
        return actions[action](session, input)

    def init(self, session, input):
        """Begins the conversation anew, with what the model shall know of its part."""
        system = text_of(input, "system", "") if input is not None else ""
        needed(self.settings)
        session.state["system"] = system
        session.state["messages"] = []
        return {"endpoint": self.settings.endpoint, "model": self.settings.model, "system": system}

    def chat(self, session, input):
        """Says something and gets the answer, which is also shown as it comes. A call that fails changes nothing."""
        said = {"role": "user", "content": text_of(input, "message")}
        needed(self.settings)
        state = session.state
        messages = bounded([*state.get("messages", []), said], self.settings)
        system = [{"role": "system", "content": state["system"]}] if state.get("system") else []
        self.endpoint = endpoint = Endpoint(self.settings)
        pieces = []
        try:
            for piece in endpoint.answer(system + messages, lambda: session.cancel_requested):
                pieces.append(piece)
                session.emit_delta({"response": piece})
        except Error:
            if not session.cancel_requested:
                raise
        finally:
            self.endpoint = None
        if session.cancel_requested:
            raise Error("cancelled", "the answer was cancelled; the conversation is as it was before")
        response = "".join(pieces)
        messages = bounded([*messages, {"role": "assistant", "content": response}], self.settings)
        state["messages"] = messages
        usage = counted(endpoint.usage)
        total = state.get("usage", {"answers": 0, **dict.fromkeys(COUNTED, 0)})
        state["usage"] = {
            "answers": total["answers"] + 1, **{name: total[name] + (usage or {}).get(name, 0) for name in COUNTED},
        }
        return {
            "response": response, "finish_reason": endpoint.finish_reason, "model": endpoint.model, "usage": usage,
            "history": len(messages),
        }

    def history(self, session):
        state = session.state
        return {
            "system": state.get("system", ""),
            "messages": state.get("messages", []),
            "usage": state.get("usage"),
        }

    def on_cancel(self):
        endpoint = self.endpoint
        if endpoint:
            endpoint.stop()


def bounded(messages, settings):
    """The newest messages that the bounds allow; the oldest one left is the user's."""
    first = max(0, len(messages) - settings.messages)
    sizes = [len(json.dumps(message)) for message in messages]
    while first < len(messages) - 1 and sum(sizes[first:]) > settings.history_bytes:
        first += 1
    while first < len(messages) - 1 and messages[first]["role"] != "user":
        first += 1
    return messages[first:]


def counted(usage):
    """The endpoint's count of tokens, where it gave one."""
    if not isinstance(usage, dict):
        return None
    counts = {name: usage.get(name) for name in COUNTED}
    return {name: count for name, count in counts.items() if isinstance(count, int) and 0 <= count < 2**53}


def text_of(input, name, default=None):
    value = input.get(name, default) if isinstance(input, dict) else None
    if not isinstance(value, str) or (not value and default is None):
        raise refused(f'"{name}" is text, not {value!r}')
    if len(value.encode()) > MESSAGE_BYTES:
        raise Error("too_large", f'"{name}" has more than {MESSAGE_BYTES} bytes', False)
    return value


def refused(message):
    return Error("invalid_request", message, False)


if __name__ == "__main__":
    serve(ChatWithMemory)
