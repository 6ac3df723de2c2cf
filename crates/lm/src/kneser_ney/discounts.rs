//! What is subtracted from counts.

use super::counts::Counted;

/// The discounts of one order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discounts {
    /// What is subtracted from an adjusted count of 1, of 2, and of 3 and more.
    pub amounts: [f64; 3],
    /// Why these are the fallback, if they are.
    pub fallback: Option<FallbackReason>,
}

/// Why an order's discounts cannot be computed from its counts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FallbackReason {
    /// The text has no n-gram of the order: its sentences are too short.
    NoNgrams,
    /// No n-gram has this adjusted count, 1 to 3.
    NoneWithCount(u8),
    /// The discount of this adjusted count (1, 2, or 3 and more) comes out below 0 or above the count.
    OutOfRange {
        /// The adjusted count.
        count: u8,
        /// The discount.
        discount: f64,
    },
}

impl Discounts {
    /// Chen and Goodman's estimate (equation 26) from the adjusted counts of one order, or the fallback where there is none.
    pub(super) fn estimate(grams: &[Counted], fallback: [f64; 3]) -> Self {
        // n[i]: how many n-grams have count i.
        let mut n = [0_u64; 5];
        for gram in grams.iter().filter(|gram| gram.adjusted < 5) {
            n[gram.adjusted as usize] += 1;
        }
        if grams.is_empty() {
            return Self { amounts: fallback, fallback: Some(FallbackReason::NoNgrams) };
        }
        let n = n.map(|n| n as f64);
        let y = n[1] / (n[1] + 2.0 * n[2]);
        let mut amounts = [0.0; 3];
        for count in 1..=3 {
            if n[count] == 0.0 {
                return Self { amounts: fallback, fallback: Some(FallbackReason::NoneWithCount(count as u8)) };
            }
            let whole = count as f64;
            let discount = whole - (whole + 1.0) * y * n[count + 1] / n[count];
            if !(0.0..=whole).contains(&discount) {
                let reason = FallbackReason::OutOfRange { count: count as u8, discount };
                return Self { amounts: fallback, fallback: Some(reason) };
            }
            amounts[count - 1] = discount;
        }
        Self { amounts, fallback: None }
    }

    /// The discount of a count of 1 or more.
    pub(super) fn of(&self, count: u32) -> f64 {
        self.amounts[count.clamp(1, 3) as usize - 1]
    }

    /// What to say about a fallback.
    pub(super) fn warning(&self, order: usize) -> Option<String> {
        let why = match self.fallback? {
            FallbackReason::NoNgrams => {
                return Some(format!(
                    "the text has no {order}-grams, since no sentence is that long: an order of {} or less loses nothing",
                    order.saturating_sub(1).max(1)
                ));
            }
            FallbackReason::NoneWithCount(count) => format!("no {order}-gram has the adjusted count {count}"),
            FallbackReason::OutOfRange { count, discount } => {
                let more = if count == 3 { " or more" } else { "" };
                format!("that of count {count}{more} would be {discount:.3}")
            }
        };
        let [one, two, more] = self.amounts;
        Some(format!(
            "the {order}-grams' discounts cannot be computed from the text, since {why}; taken instead: {one}, {two} and {more} \
             for counts of 1, 2, and 3 or more (usual for little text, repeated text, and characters)"
        ))
    }
}
