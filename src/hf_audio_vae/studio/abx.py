"""Tab: an ABX test. Is X the same sound as A, or as B?"""

import math
import random
import shutil
from dataclasses import dataclass

import gradio as gr

from hf_audio_vae.studio.components import blind_output, menu, run_on, sound_input
from hf_audio_vae.studio.workshop import EXAMPLES, ORIGINAL, Workshop, reconstruct

HELP = """
X is A or B, drawn at random before each answer. Someone who hears no difference is right half of the time. With 12
right answers of 16, guessing is improbable (p = 0.04).
"""


@dataclass(frozen=True)
class Trial:
    """Both sounds, which of them X is, and the answers before.

    Args:
        paths (`tuple[str, str]`): Files of A and B.
        x (`int`): 0 if X is A, 1 if X is B.
        right (`int`): Right answers so far.
        answers (`int`): Answers so far.
    """

    paths: tuple[str, str]
    x: int
    right: int = 0
    answers: int = 0

    def answered(self, x: int) -> "Trial":
        """Count an answer, and draw X again."""
        return Trial(self.paths, random.randrange(2), self.right + (x == self.x), self.answers + 1)

    @property
    def p_value(self) -> float:
        """Probability of at least as many right answers by guessing, a one-sided binomial test."""
        ways = sum(math.comb(self.answers, right) for right in range(self.right, self.answers + 1))
        return ways / 2**self.answers

    def verdict(self) -> str:
        """Describe the score."""
        if not self.answers:
            return "Listen to A, B and X, then answer."
        return f"**{self.right} of {self.answers} right**, p = {self.p_value:.3f} for guessing. X was drawn again."


def tab(workshop: Workshop) -> None:
    """Build the tab."""
    gr.Markdown(HELP)
    sound = sound_input("sound", "blind-sound", str(EXAMPLES / "speech_en_0890.flac"))
    systems = [ORIGINAL, *workshop.models]
    with gr.Row():
        first = menu("A", systems, "blind-a-system")
        second = menu("B", systems[1:], "blind-b-system")
    start = gr.Button("Start a test", variant="primary", elem_id="blind-start")
    with gr.Row():
        players = [blind_output(name, f"blind-{name.lower()}") for name in "ABX"]
    with gr.Row():
        answers = [gr.Button(f"X is {name}", elem_id=f"blind-x-is-{name.lower()}") for name in "AB"]
    verdict = gr.Markdown(elem_id="blind-verdict")
    state = gr.State(None)

    def shown(trial: Trial) -> list[object]:
        return [trial, *trial.paths, copied(workshop, trial.paths[trial.x]), trial.verdict()]

    def begin(path: str | None, a: str, b: str) -> list[object]:
        if a == b:
            raise ValueError(f"A and B are both {a}; choose two different ones.")
        return shown(Trial((sound_of(workshop, path, a), sound_of(workshop, path, b)), random.randrange(2)))

    def answer(trial: Trial | None, x: int) -> list[object]:
        if trial is None:
            raise ValueError("no test has begun; press the start button.")
        return shown(trial.answered(x))

    def answer_a(trial: Trial | None) -> list[object]:
        return answer(trial, 0)

    def answer_b(trial: Trial | None) -> list[object]:
        return answer(trial, 1)

    outputs = [state, *players, verdict]
    run_on(start.click, begin, [sound, first, second], outputs)
    for button, function in zip(answers, (answer_a, answer_b), strict=True):
        run_on(button.click, function, [state], outputs)


def sound_of(workshop: Workshop, path: str | None, system: str) -> str:
    """Write the sound as a system gives it; `ORIGINAL` has the rate and the channels of the file."""
    if system == ORIGINAL:
        return workshop.write(*workshop.read_original(path))
    model = workshop.models[system]
    return workshop.write(reconstruct(model, workshop.read(path, model)), model.sampling_rate)


def copied(workshop: Workshop, path: str) -> str:
    """Copy a sound, since the address of X may not be that of A or B."""
    try:
        return str(shutil.copyfile(path, workshop.new_file()))
    except FileNotFoundError as error:
        raise ValueError("the sounds of this test were deleted after a day; start a new test.") from error
