//! Exact order statistics, over values few enough to be kept and sorted.

/// The smallest value that at least this share of the values do not exceed (nearest rank). NaN of
/// nothing.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

pub fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// The mean of all values but the largest thirtieth, which are those of moments when something else
/// had the core.
pub fn trimmed_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.truncate(sorted.len() - sorted.len() / 30);
    sorted.iter().sum::<f64>() / sorted.len() as f64
}

/// The middle value, or the mean of the two in the middle. NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let upper = sorted.len() / 2;
    match sorted.len().is_multiple_of(2) {
        true => f64::midpoint(middle(upper.wrapping_sub(1)), middle(upper)),
        false => middle(upper),
    }
}
