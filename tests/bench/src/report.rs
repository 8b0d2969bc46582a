//! The table.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::{Value, json};

/// A line of the table.
pub(crate) struct Row {
    metric: String,
    aim: Option<Aim>,
    measured: Measured,
    /// Our time over the raw way's, taken in the same run.
    ratio_to_floor: Option<f64>,
    note: Option<String>,
}

/// What a measurement should not exceed.
struct Aim {
    of: &'static str,
    most: f64,
}

/// What an aim is called that the ratio to the floor has to meet.
const OVER_FLOOR: &str = "over floor";

enum Measured {
    Values {
        unit: &'static str,
        values: Vec<(&'static str, f64)>,
    },
    NotRun(String),
    Failed(String),
}

impl Row {
    /// What was measured, by name: `min`, `median`, `p99` as fits.
    pub(crate) fn new(metric: impl Into<String>, unit: &'static str, values: Vec<(&'static str, f64)>) -> Self {
        Self::of(metric, Measured::Values { unit, values })
    }

    /// What cannot be measured on this host.
    pub(crate) fn not_run(metric: impl Into<String>, reason: &str) -> Self {
        Self::of(metric, Measured::NotRun(one_line(reason)))
    }

    /// What went wrong.
    pub(crate) fn failed(metric: impl Into<String>, reason: &str) -> Self {
        Self::of(metric, Measured::Failed(one_line(reason)))
    }

    fn of(metric: impl Into<String>, measured: Measured) -> Self {
        Self {
            metric: metric.into(),
            aim: None,
            measured,
            ratio_to_floor: None,
            note: None,
        }
    }

    /// The value called `of` should be at most this.
    pub(crate) fn aim(mut self, of: &'static str, most: f64) -> Self {
        self.aim = Some(Aim { of, most });
        self
    }

    pub(crate) fn ratio_to_floor(mut self, ratio: f64) -> Self {
        self.ratio_to_floor = Some(ratio);
        self
    }

    /// The same, and it should be at most this.
    pub(crate) fn at_most_over_floor(self, ratio: f64, most: f64) -> Self {
        self.ratio_to_floor(ratio).aim(OVER_FLOOR, most)
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Whether the aim was met, where there is one.
    fn met(&self) -> Option<bool> {
        let (Some(aim), Measured::Values { values, .. }) = (&self.aim, &self.measured) else {
            return None;
        };
        let value = match self.ratio_to_floor {
            Some(ratio) if aim.of == OVER_FLOOR => ratio,
            _ => values.iter().find(|(name, _)| *name == aim.of)?.1,
        };
        Some(value <= aim.most)
    }

    fn cells(&self) -> [String; 4] {
        let unit = match &self.measured {
            Measured::Values { unit, .. } => unit,
            Measured::NotRun(_) | Measured::Failed(_) => "",
        };
        let aim = self.aim.as_ref().map(|aim| {
            let verdict = match self.met() {
                Some(true) => ": met",
                Some(false) => ": MISSED",
                None => "",
            };
            let unit = if aim.of == OVER_FLOOR { "times" } else { unit };
            format!("{} {} {unit}{verdict}", aim.of, number(aim.most))
                .trim()
                .to_owned()
        });
        let mut measured = match &self.measured {
            Measured::Values { unit, values } => {
                let values: Vec<_> = values
                    .iter()
                    .map(|(name, value)| format!("{name} {}", number(*value)).trim().to_owned())
                    .collect();
                format!("{} {unit}", values.join(", "))
            }
            Measured::NotRun(reason) => format!("not run: {reason}"),
            Measured::Failed(reason) => format!("FAILED: {reason}"),
        };
        if let Some(note) = &self.note {
            measured.push_str(&format!(" ({note})"));
        }
        [
            self.metric.clone(),
            aim.unwrap_or_default(),
            measured,
            self.ratio_to_floor
                .map(|ratio| format!("{ratio:.2}"))
                .unwrap_or_default(),
        ]
    }

    fn as_json(&self) -> Value {
        let (status, unit, values) = match &self.measured {
            Measured::Values { unit, values } => {
                let values = values.iter().map(|(name, value)| (key(name).to_owned(), json!(value)));
                ("measured", json!(unit), Value::Object(values.collect()))
            }
            Measured::NotRun(_) => ("not_run", Value::Null, Value::Null),
            Measured::Failed(_) => ("failed", Value::Null, Value::Null),
        };
        let reason = match &self.measured {
            Measured::Values { .. } => None,
            Measured::NotRun(reason) | Measured::Failed(reason) => Some(reason),
        };
        json!({
            "metric": self.metric,
            "status": status,
            "reason": reason,
            "unit": unit,
            "values": values,
            "aim": self.aim.as_ref().map(|aim| json!({"of": key(aim.of), "most": aim.most, "met": self.met()})),
            "ratio_to_floor": self.ratio_to_floor,
            "note": self.note,
        })
    }
}

/// A single value has no name in the table.
fn key(name: &'static str) -> &'static str {
    if name.is_empty() { "value" } else { name }
}

fn one_line(text: &str) -> String {
    let text: Vec<_> = text.split_whitespace().collect();
    text.join(" ").chars().take(300).collect()
}

/// As many decimals as the value is worth.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        size if size < 100.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value:.0}"),
    }
}

/// What the measurements were taken on.
pub(crate) struct Machine {
    cores: usize,
    load: f64,
}

impl Machine {
    /// Looks at this host.
    pub(crate) fn look() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg cannot be read")?;
        let load = text.split_whitespace().next().and_then(|text| text.parse().ok());
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.context("/proc/loadavg holds no number")?,
        })
    }
}

/// All rows.
pub(crate) struct Table {
    begin: Machine,
    end: Option<Machine>,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(begin: Machine) -> Self {
        Self {
            begin,
            end: None,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// Whether nothing failed. A missed aim is no failure.
    pub(crate) fn is_well(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.measured, Measured::Failed(_)))
    }

    pub(crate) fn finished(mut self, end: Machine) -> Self {
        self.end = Some(end);
        self
    }

    fn load(&self) -> [f64; 2] {
        [
            self.begin.load,
            self.end.as_ref().map_or(self.begin.load, |end| end.load),
        ]
    }

    pub(crate) fn as_json(&self) -> Value {
        let [before, after] = self.load();
        json!({
            "cores": self.begin.cores,
            "load_before": before,
            "load_after": after,
            "rows": self.rows.iter().map(Row::as_json).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn as_text(&self) -> String {
        let mut lines = vec![["metric", "aim", "measured", "over floor"].map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            lines
                .iter()
                .map(|cells| cells[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        let mut text = String::new();
        for [metric, aim, measured, ratio] in &lines {
            let [first, second, third] = widths;
            let line = format!("{metric:first$}  {aim:second$}  {measured:third$}  {ratio}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let [before, after] = self.load();
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{} cores; load average {before:.1} before, {after:.1} after",
            self.begin.cores
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new("start-up", "ms", vec![("median", 120.4), ("p99", 151.0)])
    }

    #[test]
    fn an_aim_is_met_or_missed_by_the_value_that_it_names() {
        assert_eq!(row().aim("median", 150.0).cells()[1], "median 150 ms: met");
        assert_eq!(row().aim("p99", 150.0).cells()[1], "p99 150 ms: MISSED");
        let single = Row::new("memory", "MB", vec![("", 17.0)]).aim("", 30.0);
        assert_eq!(single.cells()[1], "30 MB: met");
        assert_eq!(single.as_json()["values"]["value"], 17.0);
        assert_eq!(Row::not_run("x", "no root").aim("p99", 150.0).met(), None);
        let ratio = |ratio: f64| row().at_most_over_floor(ratio, 1.5);
        assert_eq!(ratio(1.4).cells()[1], "over floor 1.5 times: met");
        assert_eq!(
            (ratio(1.6).met(), ratio(1.6).cells()[3].as_str()),
            (Some(false), "1.60")
        );
    }

    #[test]
    fn a_failure_is_one_line_and_makes_the_table_fail() {
        let mut table = Table::new(Machine { cores: 2, load: 0.0 });
        table.add([row(), Row::not_run("x", "no root")]);
        assert!(table.is_well());
        table.add([Row::failed("y", "first\n  second")]);
        assert!(!table.is_well());
        let text = table.as_text();
        assert!(
            text.contains("not run: no root") && text.contains("FAILED: first second"),
            "{text}"
        );
        assert_eq!(table.as_json()["rows"][2]["status"], "failed");
    }

    #[test]
    fn a_number_has_as_many_decimals_as_it_is_worth() {
        let shown = [0.0, 0.126, 5.0, 30.0, 45.67, 1234.5].map(number);
        assert_eq!(shown, ["0", "0.13", "5", "30", "45.7", "1234"]);
    }
}
