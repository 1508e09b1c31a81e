"""The page, of Gradio."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mtpeft.apis.demo.answers import LONGEST, Shown, predicted, shown
from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.apis.pictures import reduced
from mtpeft.datasets import ScenesMT

_SCENES = (0, 3, 15)
_SIZE = (240, 320)
_HEADLINE = """# mtpeft
Drop a picture, or click on a room. The blue handle of a map slides the picture over it."""
_STYLE = """
.key { font-size: .85rem; padding: 0 4px; margin-top: -10px; }
.names { display: flex; flex-wrap: wrap; gap: 4px 14px; }
.names span { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.names small { opacity: .65; }
.swatch { width: 14px; height: 14px; border: 1px solid #8888; border-radius: 3px; }
.bar b { display: block; height: 14px; border: 1px solid #8888; border-radius: 3px; }
.bar p { display: flex; justify-content: space-between; margin: 2px 0 0; }
.normals { display: flex; align-items: center; gap: 6px; }
.normals .upright { display: flex; flex-direction: column; align-items: center; line-height: 1.2; }
.normals img { width: 56px; height: 56px; margin: 1px 0; }
"""


def load_gradio() -> Any:
    """Gradio, which then reports nothing to anybody, and keeps uploads in a folder of its own.

    Raises:
        ImportError: it is not installed; the command that installs it.
    """
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    os.environ.setdefault('HF_HUB_DISABLE_TELEMETRY', '1')
    try:
        import gradio
    except ImportError as error:
        raise ImportError(
            'The demo needs Gradio, which is not installed:\n    pip install "mtpeft[demo]"'
        ) from error
    return gradio


class Demo:
    """A page with a picture on the left, and the maps of one model, or several, on the right.

    It listens on this machine alone unless told otherwise, fetches nothing from the net and tells
    nobody. Uploads are in a temporary folder that goes away with it.

    Args:
        models: Inferencers by the name that is shown.
        examples: Pictures to click on. ``None``: rooms that are rendered here.

    Raises:
        ImportError: Gradio is not installed.

    Example:
        >>> demo = Demo(dict(faar=predict))  # doctest: +SKIP
        >>> demo.start()  # doctest: +SKIP
        'http://127.0.0.1:7860/'
    """

    def __init__(
        self,
        models: Mapping[str, MultiTaskInferencer],
        examples: Sequence[str | Path] | None = None,
    ) -> None:
        self.models = dict(models)
        self.tasks = list(dict.fromkeys(t for predict in models.values() for t in predict.tasks))
        self._folder = Path(tempfile.mkdtemp(prefix='mtpeft-demo-'))
        os.environ['GRADIO_TEMP_DIR'] = str(self._folder / 'uploads')
        self.gradio = load_gradio()
        self.examples = [str(path) for path in (self._rendered() if examples is None else examples)]
        self.page = self._page()

    def start(self, host: str = '127.0.0.1', port: int | None = None) -> str:
        """Serve the page in a thread; its address.

        Args:
            host: The address it listens on. Other than ``'127.0.0.1'``, everybody who reaches this
                machine can use the page.
            port: ``None``: the first free one from 7860.

        Raises:
            OSError: the port is taken.
        """
        try:
            _, address, _ = self.page.launch(
                server_name=host, server_port=port, share=False, quiet=True, css=_STYLE,
                prevent_thread_lock=True, show_error=True, ssr_mode=False, footer_links=[],
                enable_monitoring=False, theme=self._theme(),
            )  # fmt: skip
        except OSError as error:
            tried = 'Ports 7860 to 7959' if port is None else f'Port {port}'
            raise OSError(
                f'{tried} of {host} cannot be listened on. Another program may use it: give '
                'another one, --port PORT.'
            ) from error
        return address

    def close(self) -> None:
        """End it, and remove what was uploaded."""
        self.page.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def predict(self, rgb: np.ndarray | None, tasks: list[str]) -> list[Any]:
        """What the parts of the page become, in the order of ``_outputs``."""
        gr = self.gradio
        empty = [gr.update(value=None, visible=False), gr.update(value='')]
        if rgb is None:
            return [''] * len(self.models) + empty * (len(self.models) * len(self.tasks))
        rgb = reduced(rgb, LONGEST)
        lines, maps = [], {}
        for model, predict in self.models.items():
            try:
                maps[model], line = predicted(predict, rgb, tasks)
            except (ValueError, RuntimeError, MemoryError) as error:
                raise gr.Error(str(error) or 'Memory ran out.') from error
            lines.append(line)
        parts = []
        for task in self.tasks:
            have = [model for model in self.models if task in maps[model]]
            drawn = dict(zip(have, self._shown(task, have, maps), strict=True))
            for model in self.models:
                parts += [
                    gr.update(value=(rgb, drawn[model].colours), visible=True),
                    gr.update(value=drawn[model].key),
                ] if model in drawn else empty  # fmt: skip
        return lines + parts

    def _shown(self, task: str, models: Sequence[str], maps: Mapping[str, Any]) -> list[Shown]:
        tasks = [self.models[model].model.tasks[task] for model in models]
        return shown(tasks, [maps[model][task] for model in models])

    def _page(self) -> Any:
        gr = self.gradio
        with gr.Blocks(title='mtpeft', analytics_enabled=False) as page:
            gr.Markdown(_HEADLINE)
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    picture = gr.Image(
                        label='Picture', type='numpy', image_mode='RGB', height=300,
                        sources=['upload', 'clipboard', 'webcam'],
                    )  # fmt: skip
                    ticked = gr.CheckboxGroup(self.tasks, value=self.tasks, label='Tasks')
                    if self.examples:
                        gr.Examples(self.examples, picture, label='Rooms rendered on this machine')
                with gr.Column(scale=3, min_width=600):
                    outputs = self._outputs()
            inputs = [picture, ticked]
            for event in (picture.change, ticked.input):
                event(
                    self.predict, inputs, outputs, show_progress='minimal',
                    api_visibility='private', trigger_mode='always_last',
                )  # fmt: skip
        return page

    def _outputs(self) -> list[Any]:
        """A line a model, then for each task and model a slider and a key.

        One model has its maps in two columns; several have a column each, so that a task's maps
        stand beside each other.
        """
        gr = self.gradio
        lines, parts = [], []
        with gr.Row():
            for model in self.models:
                with gr.Column(min_width=280):
                    gr.Markdown(f'### {model}')
                    lines.append(gr.Markdown(''))
        across = len(self.models) if len(self.models) > 1 else 2
        places = [(task, model) for task in self.tasks for model in self.models]
        for start in range(0, len(places), across):
            with gr.Row():
                for task, _ in places[start : start + across]:
                    with gr.Column(min_width=280):
                        parts.append(gr.ImageSlider(
                            label=task.replace('_', ' '), type='numpy', format='png',
                            slider_position=0, visible=False, interactive=False, max_height=420,
                            elem_classes='map',
                        ))  # fmt: skip
                        parts.append(gr.HTML(''))
        return lines + parts

    def _theme(self) -> Any:
        # typefaces of the system: Gradio's own come from the net in some of its themes
        fonts = ['ui-sans-serif', 'system-ui', 'sans-serif']
        return self.gradio.themes.Default(
            primary_hue='blue', font=fonts, font_mono=['ui-monospace', 'monospace']
        )

    def _rendered(self) -> list[Path]:
        scenes = ScenesMT(tasks=['depth'], length=_SCENES[-1] + 1, size=_SIZE, seed=2,
                          supersample=2)  # fmt: skip
        paths = []
        for index in _SCENES:
            paths.append(self._folder / f'room {index}.png')
            cv2.imwrite(str(paths[-1]), scenes.load_sample(index)['img'])
        return paths
