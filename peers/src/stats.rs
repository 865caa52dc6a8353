//! Medians of rounds, and of ratios within a round.

/// The samples of a case: one for each round, or `None` for a round without the case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Option<f64>>);

impl Samples {
    /// Adds a round.
    pub(crate) fn push(&mut self, sample: Option<f64>) {
        self.0.push(sample);
    }

    pub(crate) fn rounds(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn min(&self) -> Option<f64> {
        self.0.iter().flatten().copied().min_by(f64::total_cmp)
    }

    pub(crate) fn median(&self) -> Option<f64> {
        median(self.0.iter().flatten().copied().collect())
    }

    /// Returns the median of the ratio to `of` within a round, over the rounds in which both have a sample.
    pub(crate) fn ratio(&self, of: &Samples) -> Option<f64> {
        let both = self.0.iter().zip(&of.0).filter_map(|(own, other)| Some((*own)? / (*other)?));
        median(both.collect())
    }
}

/// Returns the middle value, or the mean of the two middle values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length.is_multiple_of(2) => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.iter().map(|value| (*value > 0.0).then_some(*value)).collect())
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Twice as slow in every round, although the machine was slower in one of them.
        let (cede, rival) = (samples(&[1.0, 10.0, 1.0]), samples(&[2.0, 20.0, 2.0]));
        assert_eq!(rival.ratio(&cede), Some(2.0));
        assert_eq!((rival.min(), rival.median(), rival.rounds()), (Some(2.0), Some(2.0), 3));
    }

    #[test]
    fn rounds_that_one_of_two_missed_do_not_count() {
        let (cede, rival) = (samples(&[1.0, 2.0, 4.0]), samples(&[0.0, 8.0, 0.0]));
        assert_eq!(rival.ratio(&cede), Some(4.0));
        assert_eq!((rival.rounds(), rival.median()), (1, Some(8.0)));
        assert_eq!(samples(&[0.0]).ratio(&cede), None);
    }
}
