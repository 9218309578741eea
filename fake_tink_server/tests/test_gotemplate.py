"""Go templates: what renders renders as in Go, what does not is refused with its place."""

from __future__ import annotations

from typing import Any

import gotpl
import pytest
from gotpl.funcs import sprig
from hypothesis import example, given
from hypothesis import strategies as st

from fake_tink_server.gotemplate import TemplateRefused, render
from fake_tink_server.govalues import GoStruct, float_text

DATA: dict[str, Any] = {
    "device_1": "52:54:00:00:00:01",
    "Disks": ["/dev/vda", "/dev/nvme0n1"],
    "Deep": {"Er": {"x": 7, "y": True, "s": "a\nb"}},
    "Empty": "",
    "Zero": 0,
    "Text": " Trim Me ",
    "B64": "aGVsbG8=",
}

AGREED = [
    "plain text, no action",
    "{{.device_1}}",
    "{{ .device_1 }}",
    "a {{- .device_1 -}} b",
    "a \n {{- /* gone */ -}} \n b",
    "{{/* gone */}}x",
    "{{ index .Disks 0 }}",
    "{{ index .Disks 1 | upper }}",
    '{{ .device_1 | replace ":" "-" }}',
    '{{ replace ":" "" .device_1 | upper | lower }}',
    "{{ .Deep.Er.x }} {{ .Deep.Er.y }}",
    "{{ (.Deep.Er).x }}",
    '{{ (index .Deep "Er").x }}',
    '{{ index .Deep "Er" "x" }}',
    '{{ "a\\tb\\"c\\u00e9" }}{{ `raw \\n` }}',
    "{{ 1 }} {{ -5 }} {{ 1.5 }} {{ true }}",
    "{{ .B64 | b64dec }} {{ b64enc .device_1 }}",
    '{{ default "x" .Empty }} {{ .Text | default "x" }}',
    "{{ trim .Text }}|{{ .Text | quote }}|{{ squote .Text }}",
    '{{ join "," .Disks }} {{ first .Disks }} {{ last .Disks }}',
    "{{ len .Disks }} {{ len .device_1 }}",
    '{{ eq .Zero 0 }} {{ ne .Empty "" }} {{ not .Empty }} {{ and .Text .Empty }} {{ or .Empty 3 }}',
    '{{ printf "%s-%d-%v-%q %%" .Empty 5 true "x" }}',
    '{{ printf "%03d" 7 }}',
    '{{ print 1 2 "x" 3 }}',
    "{{ indent 2 .Deep.Er.s }}{{ nindent 2 .Deep.Er.s }}",
    '{{ hasPrefix "52" .device_1 }} {{ hasSuffix "01" .device_1 }} {{ contains ":" .device_1 }}',
    '{{ trimPrefix "52:" .device_1 }} {{ trimSuffix ":01" .device_1 }}',
    '{{ index (splitList ":" .device_1) 5 }}',
    '{{ ternary "yes" "no" .Deep.Er.y }}',
    "{{ coalesce .Empty .Zero 5 }} {{ empty .Zero }} {{ toString 5 }}",
    "{{ $.device_1 }}",
    "{{.Disks}}{{.Deep}}",
    "{{\n.device_1\n}}",
    "{{ list 1 2 | last }}",
]


def oracle(source: str, data: Any) -> str:
    environment = gotpl.Environment(functions=sprig.hermetic_text_func_map(), missing_key="error")
    return str(environment.from_string(source).render(data))


@pytest.mark.parametrize("source", AGREED)
def test_renders_as_go_does(source: str) -> None:
    assert render(source, DATA).text == oracle(source, DATA)


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("a\n  {{.device_2}}", 2, 5, "map has no entry for key 'device_2'"),
        ("{{ .Deep.Er.z }}", 1, 12, "no entry for key 'z'"),
        ("{{ .device_1.x }}", 1, 13, "can't evaluate field x in type string"),
        ("{{ if .device_1 }}x{{ end }}", 1, 4, "{{if}} is not supported"),
        ("{{ range .Disks }}", 1, 4, "{{range}} is not supported"),
        ("{{end}}", 1, 3, "{{end}} is not supported"),
        ("{{ $x := 1 }}", 1, 7, "variables are not supported"),
        ("{{ $x }}", 1, 4, "undefined variable '$x'"),
        ("{{ env `HOME` }}", 1, 4, "no template function 'env' any more"),
        ("{{ .Zero | replce `a` `b` }}", 1, 12, "function 'replce' is not supported"),
        ("{{ replace `a` `b` .Zero }}", 1, 4, "expected string; got int"),
        ("{{ replace `a` }}", 1, 4, "wrong number of arguments: want 3 got 1"),
        ("{{ index .Disks 7 }}", 1, 4, "index out of range: 7"),
        ("{{ index nil }}", 1, 4, "index of untyped nil"),
        ("{{ eq .Zero `0` }}", 1, 4, "incompatible types"),
        ("{{ .device_1 5 }}", 1, 4, "can't give argument to non-function"),
        ("{{ 5 | .device_1 }}", 1, 8, "can't pipe into non-function"),
        ("{{ .device_1 | }}", 1, 1, "missing value"),
        ("{{ }}", 1, 1, "missing value"),
        ("x {{ .device_1", 1, 3, "the action is not closed"),
        ("x {{ .device_1 {{", 1, 3, "the action is not closed"),
        ("{{ (.device_1 }}", 1, 4, "the parenthesis is not closed"),
        ("{{ .device_1) }}", 1, 13, "unexpected ')'"),
        ('{{ "abc }}', 1, 4, "unexpected string"),
        ("{{ 'c' }}", 1, 4, "unexpected string or character"),
        ("{{ /* x */ }}", 1, 4, "unexpected character '/'"),
        ("{{/* x }}", 1, 1, "the comment is not closed"),
        ("{{ nil }}", 1, 4, "nil is not a command"),
        ("{{ 0x10 }}", 1, 4, "the number 0x10 is not supported"),
        ('{{ "\\q" }}', 1, 4, "bad escape"),
        ("{{ b64dec `?` }}", 1, 4, "not base64"),
        ("{{ .Disks.x }}", 1, 10, "can't evaluate field x"),
        ("{{" + "(" * 60 + "1" + ")" * 60 + "}}", 1, 43, "nested deeper"),
        ("{{ `" + "x" * 300_000 + "` }}", 1, 1, "exceeds 262144 bytes"),
    ],
)
def test_refusals_have_a_place(source: str, line: int, column: int, message: str) -> None:
    with pytest.raises(TemplateRefused) as caught:
        render(source, DATA)
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_structs_have_go_names_and_nil_pointers() -> None:
    address = GoStruct("v1alpha1.IP", {"Address": "192.0.2.1"}, {})
    dhcp = GoStruct("v1alpha1.DHCP", {"MAC": "x", "IP": address}, {"IP": "v1alpha1.IP"})
    bare = GoStruct("v1alpha1.DHCP", {"MAC": "y", "IP": None}, {"IP": "v1alpha1.IP"})
    data = {"Interfaces": [{"DHCP": dhcp}, {"DHCP": bare}]}
    assert render("{{ (index .Interfaces 0).DHCP.IP.Address }}", data).text == "192.0.2.1"
    with pytest.raises(TemplateRefused, match=r"can't evaluate field Mac in type v1alpha1\.DHCP"):
        render("{{ (index .Interfaces 0).DHCP.Mac }}", data)
    with pytest.raises(TemplateRefused, match=r"nil pointer evaluating \*v1alpha1\.IP\.Address"):
        render("{{ (index .Interfaces 1).DHCP.IP.Address }}", data)
    with pytest.raises(TemplateRefused, match="can't be printed"):
        render("{{ (index .Interfaces 0).DHCP }}", data)


def test_a_place_in_the_output_leads_back_to_the_source() -> None:
    rendered = render("one\n{{ .Deep.Er.s }} two\n  {{- /* c */}} three: x\n", DATA)
    assert rendered.text == "one\na\nb two three: x\n"
    assert rendered.origin(1, 2) == (1, 2)
    assert rendered.origin(2, 1) == (2, 1)
    assert rendered.origin(3, 1) == (2, 1)
    assert rendered.origin(3, 3) == (2, 18)
    assert rendered.origin(3, 14) == (3, 24)


_pieces = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", " ", ".", ".device_1", "index", ".Disks", "0", "|", "(", ")", '"',
     "`", "\\", "/*", "*/", "$", ":=", "if", "end", "upper", "print", "nil", "true", "é", "\n", "-"]
)  # fmt: skip


@given(st.lists(_pieces, max_size=25).map("".join) | st.text(max_size=40))
@example('{{ "\\')
@example("{{- -}}")
@example("{{ .device_1.}}")
def test_arbitrary_text_renders_as_go_or_is_refused(source: str) -> None:
    line = 1
    try:
        mine = render(source, DATA).text
    except TemplateRefused as error:
        line = error.line
    else:
        assert mine == oracle(source, DATA)
    assert 1 <= line <= source.count("\n") + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (86400.0, "86400"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.5e300, "1.5e+300"), (0.0001, "0.0001"), (0.00001, "1e-05"),
        (123.456, "123.456"), (-2.5, "-2.5"), (float("inf"), "+Inf"), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_floats_print_as_in_go(value: float, text: str) -> None:
    assert float_text(value) == text
