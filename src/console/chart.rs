//! Charts, drawn here as SVG: rectangles and words, whose colours and patterns are the style sheet's. Nothing is told by colour alone, and a
//! table beside each chart has all its figures.
//!
//! Drawn without a library: those that draw SVG know colours, no classes, and so neither a dark scheme, nor patterns, nor a page without inline
//! styles.

/// The widest that a character of a label is taken to be, in units of the picture: of ASCII, and of others.
const CHAR_WIDTH: f64 = 6.8;
const WIDE_CHAR_WIDTH: f64 = 12.0;
/// What is left free around the plot.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// A bar's part of its place.
const BAR_SHARE: f64 = 0.78;
/// The least height or width of what isn't zero.
const LEAST: f64 = 1.5;
/// How many lines the scale has, at most, beside the ground.
const LINES: i64 = 4;
/// The widest that words below a bar are: `02:00` is.
const BELOW_WIDTH: f64 = 60.0;
/// The height of a bar that lies, and of it with its words.
const LYING_BAR: f64 = 14.0;
const LYING_ROW: f64 = 40.0;

/// A picture's size: there is one for desks and one for telephones, where words must not shrink.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// The class that the style sheet shows or hides it by.
    pub(super) class: &'static str,
    width: f64,
    height: f64,
}

impl Size {
    pub(super) const WIDE: Self = Self { class: "wide", width: 560.0, height: 250.0 };
    pub(super) const NARROW: Self = Self { class: "narrow", width: 320.0, height: 220.0 };
}

/// A bar, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Which series it is of: its pattern.
    pub(super) series: usize,
}

/// A word at its place.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) text: String,
}

/// A line of the scale.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) y: f64,
    pub(super) text: String,
}

/// A picture.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub(super) class: &'static str,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) parts: Vec<Part>,
    /// The scale of bars that stand.
    pub(super) lines: Vec<Line>,
    /// Words that are centred: below bars that stand.
    pub(super) centred: Vec<Word>,
    /// Words that begin there: above bars that lie.
    pub(super) begun: Vec<Word>,
    /// Words that end there.
    pub(super) ended: Vec<Word>,
}

/// A bar: what is said of it, and its parts in the order of the series.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) values: Vec<i64>,
}

impl Bar {
    fn total(&self) -> i64 {
        self.values.iter().fold(0, |sum: i64, value| sum.saturating_add((*value).max(0)))
    }

    /// How long each part is, where `most` is as long as `room`: what isn't zero is seen, and all of it stays within the room.
    fn lengths(&self, most: i64, room: f64) -> Vec<f64> {
        let share = |value: i64| if value > 0 { (as_f64(value) / as_f64(most.max(1)) * room).max(LEAST) } else { 0.0 };
        let lengths: Vec<f64> = self.values.iter().map(|value| share(*value)).collect();
        let sum: f64 = lengths.iter().sum();
        let shrink = if sum > room { room / sum } else { 1.0 };
        lengths.into_iter().map(|length| length * shrink).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a picture has no more than some hundred points")]
fn as_f64(value: i64) -> f64 {
    value as f64
}

fn count(number: usize) -> f64 {
    as_f64(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The step of a scale up to `most`: 1, 2 or 5 times a power of ten.
fn step(most: i64) -> i64 {
    let mut power: i64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step.saturating_mul(LINES) >= most {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `1.5k`, `20M`: a number of the scale.
fn short(number: i64) -> String {
    const UNITS: [(i64, &str); 6] =
        [(1_000_000_000_000_000_000, "E"), (1_000_000_000_000_000, "P"), (1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| number >= *unit) else { return number.to_string() };
    let (whole, tenth) = (number / unit, number % unit / (unit / 10));
    if tenth == 0 { format!("{whole}{name}") } else { format!("{whole}.{tenth}{name}") }
}

/// How wide a text is at most.
fn width_of(text: &str) -> f64 {
    text.chars().map(|c| if c.is_ascii() { CHAR_WIDTH } else { WIDE_CHAR_WIDTH }).sum()
}

/// A text that fits, cut if it must be.
fn fitting(text: &str, room: f64) -> String {
    if width_of(text) <= room {
        return text.to_owned();
    }
    let mut left = room - WIDE_CHAR_WIDTH;
    let fits = |c: &char| {
        left -= if c.is_ascii() { CHAR_WIDTH } else { WIDE_CHAR_WIDTH };
        left >= 0.0
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

impl Chart {
    /// Bars that stand beside each other, each of parts on top of each other.
    pub(super) fn standing(size: Size, bars: &[Bar]) -> Self {
        let most = bars.iter().map(Bar::total).max().unwrap_or_default();
        let step = step(most);
        let top = step.saturating_mul((most.saturating_add(step - 1) / step).max(1));
        let (room, ground) = (size.height - TOP - BOTTOM, size.height - BOTTOM);
        let place = (size.width - LEFT - RIGHT) / count(bars.len().max(1));
        let mut parts = Vec::new();
        for (number, bar) in bars.iter().enumerate() {
            let (x, width) = (LEFT + place * (count(number) + (1.0 - BAR_SHARE) / 2.0), place * BAR_SHARE);
            let mut y = ground;
            for (series, height) in bar.lengths(top, room).into_iter().enumerate().filter(|(_, height)| *height > 0.0) {
                y -= height;
                parts.push(Part { x, y, width, height, series });
            }
        }
        let lines = (0..=LINES).map(|line| step.saturating_mul(line)).take_while(|value| *value <= top);
        let lines = lines.map(|value| Line { y: ground - as_f64(value) / as_f64(top) * room, text: short(value) }).collect();
        let (class, width, height, centred) = (size.class, size.width, size.height, below(bars, place, size));
        Self { class, width, height, parts, lines, centred, begun: Vec::new(), ended: Vec::new() }
    }

    /// Bars that lie one below the other, with their words above them. As high as there are bars.
    pub(super) fn lying(size: Size, bars: &[Bar], figure: impl Fn(i64) -> String) -> Self {
        let most = bars.iter().map(Bar::total).max().unwrap_or_default();
        let (mut parts, mut begun, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bar) in bars.iter().enumerate() {
            let row = LYING_ROW * count(number);
            let figure = figure(bar.total());
            let room = size.width - width_of(&figure) - 2.0 * CHAR_WIDTH;
            begun.push(Word { x: 0.0, y: row + 14.0, text: fitting(&bar.label, room) });
            ended.push(Word { x: size.width, y: row + 14.0, text: figure });
            let mut x = 0.0;
            for (series, width) in bar.lengths(most, size.width).into_iter().enumerate().filter(|(_, width)| *width > 0.0) {
                parts.push(Part { x, y: row + 19.0, width, height: LYING_BAR, series });
                x += width;
            }
        }
        let (class, width, height) = (size.class, size.width, LYING_ROW * count(bars.len().max(1)));
        Self { class, width, height, parts, lines: Vec::new(), centred: Vec::new(), begun, ended }
    }

    /// Where lines of the scale begin, and where their words end.
    pub(super) fn left(&self) -> f64 {
        LEFT
    }

    pub(super) fn right(&self) -> f64 {
        self.width - RIGHT
    }
}

/// The words below standing bars: as many as fit beside each other, at equal distances, none of them over the edge.
fn below(bars: &[Bar], place: f64, size: Size) -> Vec<Word> {
    let labels: Vec<String> = bars.iter().map(|bar| fitting(&bar.label, BELOW_WIDTH)).collect();
    let widest = labels.iter().map(|label| width_of(label)).fold(0.0, f64::max) + CHAR_WIDTH;
    let each = (1..=bars.len()).find(|each| count(*each) * place >= widest).unwrap_or(bars.len().max(1));
    let told = labels.into_iter().enumerate().step_by(each);
    let words = told.map(|(number, text)| Word { x: LEFT + place * (count(number) + 0.5), y: size.height - 8.0, text });
    words.filter(|word| word.x + width_of(&word.text) / 2.0 <= size.width).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bars(values: &[&[i64]]) -> Vec<Bar> {
        values.iter().enumerate().map(|(number, values)| Bar { label: format!("{number:02}:00"), values: values.to_vec() }).collect()
    }

    fn drawn(bars: &[Bar]) -> Vec<Chart> {
        let sizes = [Size::WIDE, Size::NARROW];
        sizes.iter().flat_map(|size| [Chart::standing(*size, bars), Chart::lying(*size, bars, |total| total.to_string())]).collect()
    }

    /// All of it is in the picture, what isn't zero is seen, and what is zero isn't there.
    fn check(bars: &[Bar]) {
        const ROUNDING: f64 = 0.001;
        for chart in drawn(bars) {
            let wanted = bars.iter().flat_map(|bar| &bar.values).filter(|value| **value > 0).count();
            assert_eq!(chart.parts.len(), wanted);
            for part in &chart.parts {
                assert!(part.x >= -ROUNDING && part.x + part.width <= chart.width + ROUNDING, "{part:?}");
                assert!(part.y >= -ROUNDING && part.y + part.height <= chart.height + ROUNDING, "{part:?}");
                assert!(part.width > 0.1 && part.height > 0.1, "{part:?}");
            }
            for line in &chart.lines {
                assert!((0.0..=chart.height).contains(&line.y) && width_of(&line.text) <= LEFT, "{line:?}");
            }
            for word in &chart.centred {
                let half = width_of(&word.text) / 2.0;
                assert!(word.x >= half - ROUNDING && word.x + half <= chart.width + ROUNDING, "{word:?}");
            }
            for (begun, ended) in chart.begun.iter().zip(&chart.ended) {
                assert!(width_of(&begun.text) + width_of(&ended.text) < chart.width, "{begun:?} {ended:?}");
            }
            let reach = |word: &Word| (word.x - width_of(&word.text) / 2.0, word.x + width_of(&word.text) / 2.0);
            assert!(chart.centred.windows(2).all(|pair| reach(&pair[0]).1 <= reach(&pair[1]).0), "{:?}", chart.centred);
        }
    }

    #[test]
    fn nothing_at_all_and_one_huge_value_are_pictures_too() {
        check(&[]);
        check(&bars(&[&[], &[]]));
        check(&bars(&[&[0, 0], &[0, 0]]));
        check(&bars(&[&[1, 1, 1, 1, 1, 1, 1], &[i64::MAX, 1, 1, 1, 1, 1, 1], &[0, i64::MAX, i64::MAX, 0, 0, 0, 0]]));
        check(&bars(&[&[-5, 3]]));
        check(&(0..31).map(|_| Bar { label: "x".repeat(500), values: vec![1] }).collect::<Vec<_>>());
    }

    #[test]
    fn a_bar_is_as_high_as_its_figure() {
        let chart = Chart::standing(Size::WIDE, &bars(&[&[100], &[50], &[200]]));
        assert_eq!(chart.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["0", "50", "100", "150", "200"]);
        let heights: Vec<_> = chart.parts.iter().map(|part| part.height).collect();
        assert!((heights[0] - 2.0 * heights[1]).abs() < 0.01 && (heights[2] - 4.0 * heights[1]).abs() < 0.01, "{heights:?}");
        // The highest line is where the highest bar ends.
        assert!((chart.lines[4].y - chart.parts[2].y).abs() < 0.01);
    }

    #[test]
    fn scales_and_words_are_short() {
        assert_eq!([0, 1, 4, 5, 9, 100, 401, i64::MAX].map(step), [1, 1, 1, 2, 5, 50, 200, 5_000_000_000_000_000_000]);
        assert_eq!([0, 999, 1_000, 1_500, 20_000_000, i64::MAX].map(short), ["0", "999", "1k", "1.5k", "20M", "9.2E"]);
        assert_eq!(fitting("abcdefghij", 50.0), "abcde…");
        assert_eq!(fitting("키키키키키키", 50.0), "키키키…");
        assert_eq!(fitting("abc", 50.0), "abc");
    }

    proptest! {
        #[test]
        fn whatever_was_counted_stays_in_the_picture(
            values in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), 0..10_i64, 0..1_000_000_i64, Just(i64::MAX)], 7), 0..40),
            label in "\\PC{0,120}",
        ) {
            let bars: Vec<_> = values.into_iter().map(|values| Bar { label: label.clone(), values }).collect();
            check(&bars);
        }
    }
}
