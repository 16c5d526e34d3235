"""A model to copy: plain Python rules, some of which stop working beyond a length."""


class MyModel:
    """Adds numbers of up to `max_digits` digits, reverses strings, and copies the first part of everything else."""

    def __init__(self, max_digits: int = 12) -> None:
        self.max_digits = max_digits

    def predict(self, prompts: list[str], task: str) -> list[str]:
        """Reply to each prompt, in order. Prompts of one call share a task."""
        rule = {"reverse_add": self.add, "reverse": self.reverse}.get(task, self.copy)
        return [rule(prompt.removesuffix("=")) for prompt in prompts]

    def add(self, text: str) -> str:
        first, second = (number[: self.max_digits] for number in text.split("+"))
        total = int(first[::-1]) + int(second[::-1])
        return str(total)[::-1].ljust(len(first) + 1, "0")

    def reverse(self, text: str) -> str:
        return text[::-1]

    def copy(self, text: str) -> str:
        return text.split("+")[0]
