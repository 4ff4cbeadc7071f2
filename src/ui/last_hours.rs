//! The last hours of a site: a picture, and the same as a table. Both are polled with the present.

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::chart::{Chart, Drawing};
use super::failure::PageFailure;
use super::model::{Activity, AlertView, Listed, Status};
use super::session::{PageVisit, SiteVisit};
use super::times::{Stamp, Zone, count};

/// Span of the picture.
const SPAN: TimeDelta = TimeDelta::hours(3);
/// Span of a row of the table.
const ROW_MINUTES: i64 = 15;
/// Time after its end within which a minute is written.
const UNWRITTEN: TimeDelta = TimeDelta::minutes(3);
/// Longest time for which an alert can have been on at the start of the picture.
const LONGEST_ALERT: TimeDelta = TimeDelta::days(7);

/// The last hours, ready to be shown.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LastHours {
    #[serde(flatten)]
    pub(super) drawing: Drawing,
    /// Empty if nothing was counted.
    pub(super) rows: Vec<HoursRow>,
    /// Keys of the lines that are drawn, else empty.
    pub(super) usual_key: String,
    pub(super) fires_key: String,
}

/// Some minutes of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct HoursRow {
    pub(super) at: String,
    pub(super) at_utc: String,
    pub(super) fewest: String,
    pub(super) most: String,
}

impl HoursRow {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            text: self.at.clone(),
            utc: self.at_utc.clone(),
        }
    }
}

/// Visitors at a time, in order; `None` is no data.
type Points = Vec<(DateTime<Utc>, Option<u64>)>;

impl LastHours {
    /// Reads them: two calls of the API.
    pub(super) async fn read(
        visit: &PageVisit,
        site: &SiteVisit,
        status: &Status,
    ) -> Result<Self, PageFailure> {
        // The site's own clock: that of a log that is read again is not ours.
        let now = status.as_of.unwrap_or(site.zone.now());
        let to = end_of_minute(now);
        let from = to - SPAN;
        let rfc = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let path = format!("{}?from={}&to={}", site.path.api("/activity"), rfc(from), rfc(to));
        let activity: Activity = visit.api.get(&path).await?;
        let path = format!("{}?since={}", site.path.api("/alerts"), rfc(from - LONGEST_ALERT));
        let alerts: Listed<AlertView> = visit.api.get(&path).await?;
        let spans: Vec<_> = alerts
            .data
            .iter()
            .map(|alert| (alert.started_at, alert.ended_at.unwrap_or(now)))
            .filter(|(start, end)| *end >= from && *start <= to)
            .collect();
        let samples = activity.data.iter().map(|sample| (sample.at, sample.visitors));
        let points = with_present(samples.collect(), status);
        Ok(Self::new((from, to), &points, &spans, status, &site.zone))
    }

    fn new(
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        points: &Points,
        alerts: &[(DateTime<Utc>, DateTime<Utc>)],
        status: &Status,
        zone: &Zone,
    ) -> Self {
        let fires_at = status.fires_at();
        let usual = status.baseline.as_ref().map(|usual| usual.expected);
        let most = points.iter().filter_map(|(_, visitors)| *visitors).max();
        let chart = Chart {
            from,
            to,
            points,
            usual,
            fires_at,
            alerts,
            title: "Visitors of the last 3 hours".to_owned(),
            finding: finding(most, alerts.len(), fires_at),
            zone,
        };
        let usual_key = usual.map(|usual| format!("usual now: {}", count(usual.round() as u64)));
        let fires_key = fires_at.map(|at| format!("a spike begins at {}", count(at)));
        Self {
            drawing: chart.draw(),
            rows: most.map_or_else(Vec::new, |_| rows(points, zone)),
            usual_key: usual_key.unwrap_or_default(),
            fires_key: fires_key.unwrap_or_default(),
        }
    }
}

/// Adds the number that is shown as the present, unless it is of before the last sample.
fn with_present(mut points: Points, status: &Status) -> Points {
    let (Some(as_of), visitors @ Some(_)) = (status.as_of, status.visitors()) else {
        return points;
    };
    // Minutes that are not written yet are no gap.
    let written = as_of - UNWRITTEN;
    while points
        .last()
        .is_some_and(|(at, sample)| sample.is_none() && *at >= written)
    {
        points.pop();
    }
    if points.last().is_none_or(|(last, _)| *last < as_of) {
        points.push((as_of, visitors));
    }
    points
}

/// The fewest and the most visitors of each quarter of an hour: no peak of the picture is left out.
fn rows(points: &Points, zone: &Zone) -> Vec<HoursRow> {
    let quarter = |at: &DateTime<Utc>| at.duration_trunc(TimeDelta::minutes(ROW_MINUTES)).unwrap_or(*at);
    points
        .chunk_by(|(one, _), (other, _)| quarter(one) == quarter(other))
        .map(|chunk| {
            let counted = || chunk.iter().filter_map(|(_, visitors)| *visitors);
            let words = |number: Option<u64>| number.map_or_else(|| "no data".to_owned(), count);
            let at = zone.minute(quarter(&chunk[0].0));
            HoursRow {
                at: at.text,
                at_utc: at.utc,
                fewest: words(counted().min()),
                most: words(counted().max()),
            }
        })
        .collect()
}

fn end_of_minute(at: DateTime<Utc>) -> DateTime<Utc> {
    let begun = at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
    match begun == at {
        true => at,
        false => begun + TimeDelta::minutes(1),
    }
}

fn finding(most: Option<u64>, alerts: usize, fires_at: Option<u64>) -> String {
    let Some(most) = most else {
        return "Nothing was counted in these hours.".to_owned();
    };
    let alerts = match alerts {
        0 => "no alert".to_owned(),
        1 => "1 alert".to_owned(),
        many => format!("{many} alerts"),
    };
    let fires = fires_at.map_or_else(String::new, |at| format!(" A spike begins at {}.", count(at)));
    format!("At most {} visitors at once, {alerts}.{fires}", count(most))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-22T{text}Z").parse().expect("a time")
    }

    fn status(visitors: u64, as_of: &str) -> Status {
        let status = json!({"current_visitors": visitors, "as_of": at(as_of), "baseline": null, "last_event_at": null});
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn a_row_has_the_fewest_and_the_most_of_its_minutes() {
        let points = vec![
            (at("13:14:00"), Some(5)),
            (at("13:15:00"), Some(80)),
            (at("13:22:00"), Some(1_512)),
            (at("13:29:00"), None),
            (at("13:31:00"), None),
        ];
        let zone = Zone::new("Europe/Berlin", at("13:31:00"));
        let row = |row: HoursRow| (row.at, row.fewest, row.most);
        let rows: Vec<_> = rows(&points, &zone).into_iter().map(row).collect();
        let wanted = [
            ("14:00", "5", "5"),
            ("14:15", "80", "1,512"),
            ("14:30", "no data", "no data"),
        ];
        let wanted = wanted.map(|(at, fewest, most)| (at.to_owned(), fewest.to_owned(), most.to_owned()));
        assert_eq!(rows, wanted);
    }

    #[test]
    fn the_line_ends_at_the_present() {
        let samples = vec![
            (at("13:28:00"), Some(5)),
            (at("13:29:00"), None),
            (at("13:30:00"), None),
        ];
        let gap = || samples[1..].to_vec();
        let first = samples[0];
        for (as_of, wanted) in [
            ("13:30:07", vec![first, (at("13:30:07"), Some(9))]),
            ("13:27:07", vec![first]),
            (
                "13:58:07",
                [vec![first], gap(), vec![(at("13:58:07"), Some(9))]].concat(),
            ),
        ] {
            assert_eq!(
                with_present(samples.clone(), &status(9, as_of)),
                wanted,
                "{as_of}"
            );
        }
        assert_eq!(end_of_minute(at("13:29:07")), at("13:30:00"));
        assert_eq!(end_of_minute(at("13:29:00")), at("13:29:00"));
    }
}
