"""How far a command is, on a terminal and elsewhere."""

import io

from mtpeft.utils.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_elsewhere_than_on_a_terminal_lines_are_rare(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('time.monotonic', lambda: clock[0])
    stream = io.StringIO()
    with Progress(100, 'pictures', stream, every=20) as progress:
        for _ in range(100):
            clock[0] += 0.5
            progress.add()
    lines = stream.getvalue().splitlines()
    assert lines == [
        '40/100 pictures, 2 a second, 30 s left', '80/100 pictures, 2 a second, 10 s left'
    ]  # fmt: skip


def test_a_terminal_has_one_line_which_goes_away(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('time.monotonic', lambda: clock[0])
    stream = Terminal()
    with Progress(3, 'frames', stream) as progress:
        for _ in range(3):
            clock[0] += 60
            progress.add()
    text = stream.getvalue()
    assert '\n' not in text and '1/3 frames, 0.0167 a second, 2 min 0 s left' in text
    assert text.split('\r')[-2].isspace()


def test_without_a_total_there_is_no_end():
    progress = Progress(None, 'frames', io.StringIO())
    progress.done = 50
    assert progress.text(10) == '50 frames, 5 a second'


def test_a_note_has_a_line_of_its_own():
    stream = Terminal()
    progress = Progress(3, 'frames', stream)
    progress._write('1/3 frames')
    progress.note('a.jpg: large')
    assert stream.getvalue().split('\r')[-1] == 'a.jpg: large\n'
