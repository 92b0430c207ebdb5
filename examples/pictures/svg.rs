//! A screen as SVG: the frame of a window, and text that stays text. Colours are classes with two sets of values, for
//! light and for dark; nothing is loaded and nothing runs.

use crate::screen::{Run, Screen, Style};
use crate::terminal::COLUMNS;
use std::collections::BTreeSet;
use std::fmt::Write;
use vt100::Color;

/// Sizes in pixels. Letters of the usual monospaced fonts are 0.6 as wide as the font is high.
const FONT: f64 = 14.0;
const CELL: f64 = FONT * 0.6;
const ROW: f64 = 20.0;
const MARGIN: f64 = 18.0;
const TITLE_BAR: f64 = 34.0;

/// The 16 colours of a terminal, on white and on black: each is legible on its background (a contrast of 4.5 or more).
const PALETTE: [(&str, &str); 16] = [
    ("#24292f", "#8b949e"),
    ("#c2202c", "#ff7b72"),
    ("#116329", "#56d364"),
    ("#7d4e00", "#e3b341"),
    ("#0757ba", "#79c0ff"),
    ("#7a3fc9", "#d2a8ff"),
    ("#136061", "#56d4dd"),
    ("#57606a", "#c9d1d9"),
    ("#57606a", "#9aa4af"),
    ("#a40e26", "#ffa198"),
    ("#1a7f37", "#7ee787"),
    ("#633c01", "#f2cc60"),
    ("#0550ae", "#a5d6ff"),
    ("#6639ba", "#e2c5ff"),
    ("#1b5f61", "#8ee9f0"),
    ("#24292f", "#f0f6fc"),
];

/// Letters and background of the terminal, light and dark.
const INK: (&str, &str) = ("#1f2328", "#e6edf3");
const PAPER: (&str, &str) = ("#ffffff", "#0d1117");
const FRAME: (&str, &str) = ("#d0d7de", "#3d444d");
const BAR: (&str, &str) = ("#f0f2f5", "#1c2128");
const TITLE: (&str, &str) = ("#57606a", "#9aa4af");

pub(crate) struct Drawing<'a> {
    pub(crate) title: &'a str,
    /// For those who cannot see it.
    pub(crate) description: &'a str,
    pub(crate) screen: &'a Screen,
}

impl Drawing<'_> {
    pub(crate) fn svg(&self) -> String {
        let width = f64::from(COLUMNS) * CELL + 2.0 * MARGIN;
        let height = TITLE_BAR + self.screen.height() as f64 * ROW + 2.0 * MARGIN - 6.0;
        let (title, description) = (escaped(self.title), escaped(self.description));
        let mut colours = BTreeSet::new();
        let mut body = String::new();
        for (number, row) in self.screen.rows().enumerate() {
            body.push_str(&drawn(row, TITLE_BAR + MARGIN + number as f64 * ROW, &mut colours));
        }
        let rules = [rules(&colours, |(light, _)| light), rules(&colours, |(_, dark)| dark)];
        let middle = width / 2.0;
        let (right, bottom) = (width - 1.0, height - 1.0);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" xml:space="preserve" role="img" aria-label="{title}. {description}">
<title>{title}</title>
<desc>{description}</desc>
<style>
text{{font:{FONT}px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;white-space:pre}}
.name{{font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;text-anchor:middle}}
.b{{font-weight:bold}}.d{{fill-opacity:.72}}.i{{font-style:italic}}.u{{text-decoration:underline}}
{light}
@media(prefers-color-scheme:dark){{
{dark}
}}
</style>
<rect class="paper frame" x=".5" y=".5" width="{right}" height="{bottom}" rx="8"/>
<path class="bar frame" d="M.5 {TITLE_BAR}V8.5a8 8 0 0 1 8-8H{corner}a8 8 0 0 1 8 8V{TITLE_BAR}z"/>
<circle class="dot" cx="20" cy="17" r="5.5"/><circle class="dot" cx="38" cy="17" r="5.5"/><circle class="dot" cx="56" cy="17" r="5.5"/>
<text class="name" x="{middle}" y="22">{title}</text>
{body}</svg>
"#,
            light = rules[0],
            dark = rules[1],
            corner = width - 8.5,
        )
    }
}

/// The rules of the classes of one of the themes.
fn rules(colours: &BTreeSet<Shade>, theme: fn((&'static str, &'static str)) -> &'static str) -> String {
    let mut rules = format!(
        "text{{fill:{}}}.name{{fill:{}}}.paper{{fill:{}}}.frame{{stroke:{}}}.bar{{fill:{}}}.dot{{fill:{}}}",
        theme(INK),
        theme(TITLE),
        theme(PAPER),
        theme(FRAME),
        theme(BAR),
        theme(FRAME)
    );
    for colour in colours {
        let value = match *colour {
            Shade::Ink => theme(INK).to_owned(),
            Shade::Paper => theme(PAPER).to_owned(),
            Shade::Palette(number) => theme(PALETTE[usize::from(number)]).to_owned(),
            Shade::Exact(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        };
        let _ = write!(rules, ".{}{{fill:{value}}}", colour.class());
    }
    rules
}

/// A colour, as letters and backgrounds have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shade {
    Ink,
    Paper,
    /// One of the 16 that a terminal chooses.
    Palette(u8),
    /// One that the program chooses.
    Exact(u8, u8, u8),
}

impl Shade {
    fn of(colour: Color, default: Shade) -> Shade {
        match colour {
            Color::Default => default,
            Color::Idx(number @ 0..16) => Shade::Palette(number),
            Color::Idx(number @ 16..232) => {
                // A cube of six shades of each colour, and 24 greys: as xterm has them.
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                let place = number - 16;
                Shade::Exact(level(place / 36), level(place / 6 % 6), level(place % 6))
            }
            Color::Idx(number) => {
                let grey = 8 + 10 * (number - 232);
                Shade::Exact(grey, grey, grey)
            }
            Color::Rgb(red, green, blue) => Shade::Exact(red, green, blue),
        }
    }

    /// The name of its class.
    fn class(self) -> String {
        match self {
            Shade::Ink => "ink".to_owned(),
            Shade::Paper => "page".to_owned(),
            Shade::Palette(number) => format!("c{number}"),
            Shade::Exact(red, green, blue) => format!("x{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

/// One row: the backgrounds, and a text element whose parts have their places, so that columns stay in line in any font.
fn drawn(row: &[Run], top: f64, colours: &mut BTreeSet<Shade>) -> String {
    let (mut papers, mut text) = (String::new(), String::new());
    let baseline = top + FONT - 2.0;
    for run in row {
        let (ink, paper) = shades(&run.style);
        if paper != Shade::Paper {
            colours.insert(paper);
            let (x, width) = (left(run.column), shown(run.width as f64 * CELL));
            let _ = writeln!(
                papers,
                r#"<rect class="{}" x="{x}" y="{}" width="{width}" height="{ROW}"/>"#,
                paper.class(),
                shown(top - 2.0)
            );
        }
        let mut classes = Vec::new();
        if ink != Shade::Ink {
            colours.insert(ink);
            classes.push(ink.class());
        }
        let flags = [
            (run.style.bold, "b"),
            (run.style.dim, "d"),
            (run.style.italic, "i"),
            (run.style.underline, "u"),
        ];
        classes.extend(flags.iter().filter(|(is_so, _)| *is_so).map(|(_, class)| (*class).to_owned()));
        let class =
            if classes.is_empty() { String::new() } else { format!(r#" class="{}""#, classes.join(" ")) };
        for (column, words) in in_columns(run) {
            let _ = write!(text, r#"<tspan x="{}"{class}>{}</tspan>"#, left(column), escaped(words));
        }
    }
    if text.is_empty() {
        return papers;
    }
    let _ = writeln!(papers, r#"<text y="{}">{text}</text>"#, shown(baseline));
    papers
}

fn shades(style: &Style) -> (Shade, Shade) {
    let (ink, paper) = (Shade::of(style.ink, Shade::Ink), Shade::of(style.paper, Shade::Paper));
    if style.inverse { (paper, ink) } else { (ink, paper) }
}

/// The parts of a run with their columns. A part ends after two spaces or more, where a column of a table may begin.
fn in_columns(run: &Run) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    // Wide letters are not counted on: such a run stays whole.
    let is_plain = run.text.chars().count() == run.width;
    let (mut begin, mut column, mut spaces) = (0, run.column, 0);
    for (number, (at, letter)) in run.text.char_indices().enumerate() {
        if is_plain && letter != ' ' && spaces >= 2 {
            parts.push((column, &run.text[begin..at]));
            (begin, column) = (at, run.column + number);
        }
        spaces = if letter == ' ' { spaces + 1 } else { 0 };
    }
    parts.push((column, &run.text[begin..]));
    parts
}

fn left(column: usize) -> String {
    shown(MARGIN + column as f64 * CELL)
}

/// With one digit after the point, where it is not zero.
fn shown(pixels: f64) -> String {
    format!("{}", (pixels * 10.0).round() / 10.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    fn svg(output: &str) -> String {
        let size = |size| NonZeroU16::new(size).expect("not zero");
        let mut emulator = vt100::Parser::new(size(5), size(COLUMNS), 0);
        emulator.process(output.as_bytes());
        let screen = Screen::of(emulator.screen());
        Drawing { title: "A & B", description: "", screen: &screen }.svg()
    }

    #[test]
    fn columns_have_places_and_colours_have_classes() {
        let svg = svg("AGE   RPO\r\n\x1b[1;31m<held>\x1b[0m  in 9 h");
        assert!(svg.contains(r#"<tspan x="18">AGE   </tspan><tspan x="68.4">RPO</tspan>"#), "{svg}");
        assert!(
            svg.contains(r#"<tspan x="18" class="c1 b">&lt;held&gt;</tspan><tspan x="68.4">  </tspan>"#),
            "{svg}"
        );
        assert!(svg.contains("<title>A &amp; B</title>"), "{svg}");
    }

    /// The relative luminance of a colour, as the Web Content Accessibility Guidelines define it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("hexadecimal digits");
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        if one > other { one / other } else { other / one }
    }

    #[test]
    fn every_colour_is_legible_on_light_and_on_dark() {
        for colour in PALETTE.into_iter().chain([INK]) {
            assert!(contrast(colour.0, PAPER.0) >= 4.5, "{colour:?} on light");
            assert!(contrast(colour.1, PAPER.1) >= 4.5, "{colour:?} on dark");
        }
        assert!(contrast(TITLE.0, BAR.0) >= 4.5 && contrast(TITLE.1, BAR.1) >= 4.5);
    }
}
