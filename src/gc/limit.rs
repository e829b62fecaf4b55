//! How much garbage may stay where it is.

/// The garbage that a collection may leave in place. What files hold that are
/// garbage altogether always goes, since that costs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnused {
    /// Up to this share of each file, in percent.
    Percent(f64),
    /// Up to so many bytes in all.
    Bytes(u64),
    /// Any: no file is rewritten for its garbage.
    Unlimited,
}

impl Default for MaxUnused {
    fn default() -> Self {
        Self::Percent(5.0)
    }
}

impl MaxUnused {
    /// Reads `5%` or `5` (a share), `100M` (bytes; k, M, G and T are powers of
    /// 1024) or `unlimited`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("unlimited") {
            return Some(Self::Unlimited);
        }
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "%" => return (number <= 100.0).then_some(Self::Percent(number)),
            "b" => 0,
            "k" | "kib" | "kb" => 10,
            "m" | "mib" | "mb" => 20,
            "g" | "gib" | "gb" => 30,
            "t" | "tib" | "tb" => 40,
            _ => return None,
        };
        let bytes = number * (1_u64 << shift) as f64;
        (bytes < u64::MAX as f64).then_some(Self::Bytes(bytes as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::MaxUnused::{self, Bytes, Percent, Unlimited};

    #[test]
    fn shares_sizes_and_no_limit_are_understood_and_nothing_else() {
        for (text, expected) in [
            ("5%", Percent(5.0)),
            ("5", Percent(5.0)),
            ("0", Percent(0.0)),
            ("0.5 %", Percent(0.5)),
            ("100", Percent(100.0)),
            ("100M", Bytes(100 << 20)),
            ("1.5g", Bytes(3 << 29)),
            ("0b", Bytes(0)),
            ("20 TiB", Bytes(20 << 40)),
            ("unlimited", Unlimited),
        ] {
            assert_eq!(MaxUnused::parse(text), Some(expected), "{text}");
        }
        for text in ["", "%", "-1", "101", "101%", "NaN", "5x", "1.2.3", "M", "99999999999T"] {
            assert_eq!(MaxUnused::parse(text), None, "{text}");
        }
    }
}
