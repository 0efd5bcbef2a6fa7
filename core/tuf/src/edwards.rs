//! Whether 32 bytes are a point of edwards25519 (RFC 8032, 5.1.3). Signature checks find that out by themselves; whoever
//! accepts a key for a role wants to know it before, because nobody could ever sign with such a key.
//!
//! Public values only, so that nothing here needs to run in constant time. Deliberately absent: everything else about the
//! curve.

/// A number modulo p = 2^255 − 19, as five limbs of 51 bits. INVARIANT: every limb is below 2^52.
#[derive(Clone, Copy)]
struct Field([u64; 5]);

const MASK: u64 = (1 << 51) - 1;
const ZERO: Field = Field([0; 5]);
const ONE: Field = Field([1, 0, 0, 0, 0]);
/// d of the curve −x² + y² = 1 + d·x²·y².
const D: Field = Field([
    929_955_233_495_203,
    466_365_720_129_213,
    1_662_059_464_998_953,
    2_033_849_074_728_123,
    1_442_794_654_840_575,
]);

impl Field {
    /// From little-endian bytes without the highest bit.
    fn read(bytes: &[u8; 32]) -> Self {
        let mut words = [0_u64; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        let [a, b, c, d] = words;
        Self([
            a & MASK,
            (a >> 51 | b << 13) & MASK,
            (b >> 38 | c << 26) & MASK,
            (c >> 25 | d << 39) & MASK,
            d >> 12 & MASK,
        ])
    }

    fn carried([a, b, c, d, e]: [u64; 5]) -> Self {
        Self([
            (a & MASK) + (e >> 51) * 19,
            (b & MASK) + (a >> 51),
            (c & MASK) + (b >> 51),
            (d & MASK) + (c >> 51),
            (e & MASK) + (d >> 51),
        ])
    }

    fn plus(self, other: Self) -> Self {
        let (Self([a, b, c, d, e]), Self([f, g, h, i, j])) = (self, other);
        Self::carried([a + f, b + g, c + h, d + i, e + j])
    }

    fn minus(self, other: Self) -> Self {
        // 16·p on top, so that no limb falls below zero.
        const LOW: u64 = 16 * ((1 << 51) - 19);
        const HIGH: u64 = 16 * MASK;
        let (Self([a, b, c, d, e]), Self([f, g, h, i, j])) = (self, other);
        Self::carried([a + LOW - f, b + HIGH - g, c + HIGH - h, d + HIGH - i, e + HIGH - j])
    }

    fn times(self, other: Self) -> Self {
        let (Self(x), Self(y)) = (self, other);
        let ([a, b, c, d, e], [f, g, h, i, j]) = (x.map(u128::from), y.map(u128::from));
        // 2^255 = 19: what overflows comes back with this factor.
        let sums = [
            a * f + 19 * (b * j + c * i + d * h + e * g),
            a * g + b * f + 19 * (c * j + d * i + e * h),
            a * h + b * g + c * f + 19 * (d * j + e * i),
            a * i + b * h + c * g + d * f + 19 * (e * j),
            a * j + b * i + c * h + d * g + e * f,
        ];
        let mut limbs = [0_u64; 5];
        let mut carry = 0_u128;
        for (limb, sum) in limbs.iter_mut().zip(sums) {
            let sum = sum + carry;
            // Truncation to 51 bits is the point here.
            *limb = (sum & u128::from(MASK)) as u64;
            carry = sum >> 51;
        }
        let [a, b, c, d, e] = limbs;
        let back = u128::from(a) + 19 * carry;
        Self([(back & u128::from(MASK)) as u64, b + (back >> 51) as u64, c, d, e])
    }

    /// The limbs of the one value from 0 to p − 1.
    fn canonical(self) -> [u64; 5] {
        let Self(limbs) = Self::carried(self.0);
        // 1 if the value is p or more: whether adding 19 reaches 2^255.
        let over = limbs.iter().fold(19, |carry, limb| (limb + carry) >> 51);
        let mut carry = 19 * over;
        limbs.map(|limb| {
            let sum = limb + carry;
            carry = sum >> 51;
            sum & MASK
        })
    }

    /// Euler's criterion: the power (p − 1) / 2 = 2^254 − 10 is 1 for squares, and 0 for 0.
    fn is_square(self) -> bool {
        let power = (0..254).rev().fold(ONE, |power, bit| {
            let square = power.times(power);
            if matches!(bit, 0 | 3) { square } else { square.times(self) }
        });
        let power = power.canonical();
        power == ONE.0 || power == ZERO.0
    }
}

/// Whether there is an x for this y: x² = (y² − 1) / (d·y² + 1).
pub(crate) fn is_on_curve(point: &[u8; 32]) -> bool {
    let y = Field::read(point);
    let square = y.times(y);
    let (above, below) = (square.minus(ONE), D.times(square).plus(ONE));
    // A quotient is a square where the product is one.
    above.times(below).is_square()
}

#[cfg(test)]
mod tests {
    use super::is_on_curve;

    fn point(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn known_points_are_on_the_curve_and_their_neighbours_as_computed_elsewhere_are_not() {
        for text in [
            // The base point; a key of the reference; y = 1, 0 and −1.
            "5866666666666666666666666666666666666666666666666666666666666666",
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            assert!(is_on_curve(&point(text)), "{text}");
        }
        // y = 2 and y = 7 have no x (computed with big integers).
        for text in [
            "0200000000000000000000000000000000000000000000000000000000000000",
            "0700000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert!(!is_on_curve(&point(text)), "{text}");
        }
    }
}
