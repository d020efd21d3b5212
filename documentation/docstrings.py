"""An extension of Griffe, which reads docstrings for the site: types in Hugging Face's style, and configurations."""

import re
from typing import Any

from griffe import Class, Expr, Extension, Function, Object, Parameter, ParameterKind, Parameters

TYPED = re.compile(r"^(\s*\*{0,2}\w+) \((.+?)\): ", re.MULTILINE)
RETURNED = re.compile(r"^(\s*(?:Returns|Yields):\n\s*)`[^`]+`: ", re.MULTILINE)
NAME_OF_TYPE = re.compile(r"`[^`]+`|`[^`]+`, same shape")


def google_style(docstring: str) -> str:
    r"""Return a docstring as Griffe reads it: types are those of the signature, and shapes are prose.

    Example:
        >>> google_style("x (`int`, *optional*): Index.\nz (`Tensor` of shape `(n,)`): Latents.\nExample:\n")
        'x: Index.\nz: `Tensor` of shape `(n,)`: Latents.\nExamples:\n'
    """
    text = TYPED.sub(lambda match: f"{match[1]}: {_prose(match[2].removesuffix(', *optional*'))}", docstring)
    text = RETURNED.sub(r"\1", text)
    return re.sub(r"^(\s*)Example:$", r"\1Examples:", text, flags=re.MULTILINE)


def _prose(described: str) -> str:
    return "" if NAME_OF_TYPE.fullmatch(described) else f"{described}: "


class HuggingFaceStyle(Extension):
    """Reads docstrings in Hugging Face's style, and gives configurations the `__init__` that `strict` makes."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = google_style(obj.docstring.value)

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Add the constructor of a configuration of transformers: its annotated attributes."""
        names = [item.value.canonical_name for item in cls.decorators if isinstance(item.value, Expr)]
        if "strict" not in names:
            return
        members = [member for member in cls.attributes.values() if not member.is_alias]
        fields = [member for member in members if member.annotation and "property" not in member.labels]
        parameters = [
            Parameter(field.name, annotation=field.annotation, kind=ParameterKind.keyword_only, default=field.value)
            for field in fields
        ]
        itself = Parameter("self", kind=ParameterKind.positional_or_keyword)
        cls.set_member("__init__", Function("__init__", parent=cls, parameters=Parameters(itself, *parameters)))
