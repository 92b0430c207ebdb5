//! A chart of the times: horizontal bars that begin at zero, in groups of one work. SVG with classes for light and dark, on
//! no background.

use super::{Figures, OURS, Run, time};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Sizes in pixels.
const WIDTH: u32 = 760;
/// A letter of the names of the programs, left of the bars.
const LETTER: i32 = 7;
/// The numbers of the longest bars, right of them.
const NUMBERS: i32 = 130;
const TITLE: i32 = 30;
const AXIS: i32 = 62;
const BAR: i32 = 16;
const STEP: i32 = 20;
const HEADING: i32 = 26;
/// Above the name of a tree.
const GAP: i32 = 12;

/// What a colour is for. plotters writes a colour of its own for each, and its class takes the place of that.
#[derive(Clone, Copy)]
enum Part {
    Ink,
    Muted,
    Grid,
    Ours,
    Theirs,
}

/// Each with its place in [`RULES`].
const PARTS: [(Part, &str); 5] = [
    (Part::Ink, "ink"),
    (Part::Muted, "muted"),
    (Part::Grid, "grid"),
    (Part::Ours, "ours"),
    (Part::Theirs, "theirs"),
];

const RULES: &str = r#"<style>
text{font-family:system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
.ink{fill:#1f2328}.muted{fill:#57606a}.grid{stroke:#d0d7de}.ours{fill:#0969da}.theirs{fill:#8c959f}
@media(prefers-color-scheme:dark){
.ink{fill:#e6edf3}.muted{fill:#9aa4af}.grid{stroke:#30363d}.ours{fill:#4493f8}.theirs{fill:#6e7681}
}
</style>"#;

impl Part {
    fn colour(self) -> RGBColor {
        RGBColor(1, 1, self as u8)
    }

    fn text(self, size: i32, anchor: HPos) -> TextStyle<'static> {
        let font = ("sans-serif", f64::from(size) * PIXEL).into_font();
        TextStyle { font, color: self.colour().to_backend_color(), pos: Pos::new(anchor, VPos::Center) }
    }
}

/// The backend divides by it, and is not exact.
const PIXEL: f64 = 1.24;

/// A line of the chart, from top to bottom.
enum Line<'a> {
    Tree(&'a str),
    Work(&'a str),
    Bar(&'a Run),
}

impl Line<'_> {
    fn height(&self) -> i32 {
        match self {
            Line::Tree(_) => GAP + HEADING,
            Line::Work(_) => HEADING,
            Line::Bar(_) => STEP,
        }
    }
}

pub(super) fn svg(figures: &Figures) -> std::io::Result<String> {
    let lines = lines(figures);
    let height = TITLE + lines.iter().map(Line::height).sum::<i32>() + AXIS;
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (WIDTH, height.unsigned_abs())).into_drawing_area();
    draw(figures, &lines, &area)
        .and_then(|()| area.present())
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    drop(area);
    Ok(with_classes(&text, figures))
}

fn lines(figures: &Figures) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut above = "";
    for scene in &figures.scenes {
        if scene.tree != above {
            lines.push(Line::Tree(&scene.tree));
            above = &scene.tree;
        }
        lines.push(Line::Work(&scene.work));
        lines.extend(scene.runs.iter().map(Line::Bar));
    }
    lines
}

fn draw(
    figures: &Figures,
    lines: &[Line<'_>],
    area: &Area<'_>,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let (width, height) = area.dim_in_pixel();
    let names = lines.iter().map(|line| if let Line::Bar(run) = line { name(run).len() } else { 0 });
    let names = i32::try_from(names.max().unwrap_or(0)).unwrap_or(i32::MAX) * LETTER + 16;
    let (right, bottom) = (width.cast_signed() - NUMBERS, height.cast_signed() - AXIS);
    let put = |words: &str, place: (i32, i32), style: TextStyle<'static>| {
        area.draw(&Text::new(words.to_owned(), place, style))
    };
    let title = Part::Ink.text(15, HPos::Left);
    put(&figures.title, (0, 14), TextStyle { font: title.font.style(FontStyle::Bold), ..title })?;
    let longest = lines.iter().map(|line| if let Line::Bar(run) = line { run.seconds } else { 0.0 });
    let longest = longest.fold(0.0, f64::max);

    // The axis: the chart of plotters is the area of the bars, in seconds and, downwards, pixels.
    let mut chart = ChartBuilder::on(area)
        .margin_left(names)
        .margin_right(NUMBERS)
        .margin_top(TITLE)
        .margin_bottom(AXIS - 24)
        .x_label_area_size(24)
        .build_cartesian_2d(0.0..longest, bottom..TITLE)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_y_axis()
        .x_labels(6)
        .axis_style(Part::Grid.colour())
        .label_style(Part::Muted.text(12, HPos::Center))
        .x_label_formatter(&|seconds| format!("{seconds}"))
        .draw()?;
    put("seconds; a shorter bar is faster", (names, bottom + 34), Part::Muted.text(12, HPos::Left))?;
    let machine = figures.machine.as_ref().map(|machine| format!(", {machine}"));
    let source = format!("{}{}", figures.measured, machine.unwrap_or_default());
    put(&source, (0, bottom + 54), Part::Muted.text(11, HPos::Left))?;

    let mut top = TITLE;
    for line in lines {
        let middle = top + line.height() - STEP / 2;
        match line {
            Line::Tree(words) => {
                let style = Part::Ink.text(13, HPos::Left);
                put(words, (0, middle), TextStyle { font: style.font.style(FontStyle::Bold), ..style })?;
            }
            Line::Work(words) => put(words, (0, middle), Part::Ink.text(13, HPos::Left))?,
            Line::Bar(run) => {
                let part = if run.program == OURS { Part::Ours } else { Part::Theirs };
                let corners = [(0.0, middle - BAR / 2), (run.seconds, middle + BAR / 2)];
                chart.draw_series([Rectangle::new(corners, part.colour().filled())])?;
                put(&name(run), (names - 8, middle), Part::Muted.text(12, HPos::Right))?;
                let end = names + ((f64::from(right - names)) * run.seconds / longest).round() as i32;
                put(&number(run, figures), (end + 6, middle), Part::Ink.text(12, HPos::Left))?;
            }
        }
        top += line.height();
    }
    Ok(())
}

fn name(run: &Run) -> String {
    format!("{} {}", run.program, run.options).trim_end().to_owned()
}

fn number(run: &Run, figures: &Figures) -> String {
    let ratio = run.ratio.map(|ratio| format!(", {ratio:.2} of {}", figures.reference));
    time(run) + &ratio.unwrap_or_default()
}

/// The drawing with classes in the place of colours, a title, and each text in one line.
fn with_classes(text: &str, figures: &Figures) -> String {
    let mut text = text.to_owned();
    for (part, class) in PARTS {
        let RGBColor(red, green, blue) = part.colour();
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        for attribute in ["fill", "stroke"] {
            text = text.replace(&format!("{attribute}=\"{colour}\""), &format!("class=\"{class}\""));
        }
    }
    for size in [11, 12, 13, 15] {
        let written = f64::from(size) * PIXEL / PIXEL;
        text = text.replace(&format!("font-size=\"{written}\""), &format!("font-size=\"{size}\""));
    }
    text = text.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    // Each text element is in one line.
    text = text
        .replace("\n</text>", "</text>")
        .replace("/><text", "/>\n<text")
        .replace("</text><", "</text>\n<");
    let mut pieces = text.split("<text");
    let before = pieces.next().unwrap_or_default().to_owned();
    let text = pieces.fold(before, |text, piece| text + "<text" + &piece.replacen(">\n", ">", 1));
    let title = figures.title.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let head = format!(" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n{RULES}\n");
    text.replacen(">\n", &head, 1)
}
