//! What was measured, as a table.

use super::super::spread::Spread;

/// One figure of one round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// What was measured; empty if it belongs to the one before.
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    /// What it must not exceed.
    pub(super) bar: Option<f64>,
}

impl Figure {
    pub(super) fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value, bar: None }
    }
}

/// A line for each figure: median (lowest – highest) over the rounds, for each program, and whether the first one's
/// median keeps to the bar.
pub(super) fn table(programs: &[(&str, Vec<Vec<Figure>>)]) -> String {
    let mut text = format!("{:<48}", "");
    for (program, _) in programs {
        text.push_str(&format!("{program:<28}"));
    }
    let first = programs.first().and_then(|(_, rounds)| rounds.first());
    for (place, figure) in first.into_iter().flatten().enumerate() {
        text.push_str(&format!("\n{:<38}{:<10}", figure.name, figure.unit));
        let mut medians = programs.iter().map(|(_, rounds)| {
            let values = rounds.iter().filter_map(|round| round.get(place));
            let spread = Spread::of(values.map(|it| it.value).collect());
            let digits = if figure.unit == "/s" { 0 } else { 2 };
            text.push_str(&format!("{:<28}", spread.shown(digits)));
            spread.median
        });
        let own = medians.next().unwrap_or_default();
        medians.for_each(drop);
        if let Some(bar) = figure.bar {
            let word = if own <= bar { "held" } else { "missed" };
            text.push_str(&format!("bar {bar:.0}, {word}"));
        }
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_a_column_and_the_bar_is_for_the_first() {
        let round = |value| vec![Figure { bar: Some(5.0), ..Figure::new("wake", "ms p99", value) }];
        let ours = ("Leno", vec![round(4.0), round(9.0), round(4.5)]);
        let theirs = ("Consul", vec![round(7.0)]);
        let shown = table(&[ours, theirs]);
        let line = shown.lines().nth(1).expect("a line of figures");
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = "wake ms p99 4.50 (4.00–9.00) 7.00 (7.00–7.00) bar 5, held";
        assert_eq!(words.join(" "), expected);
        assert!(table(&[("Leno", vec![round(6.0)])]).ends_with("bar 5, missed"));
    }
}
