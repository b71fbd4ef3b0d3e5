//! The random numbers of C++'s `std::mt19937`: M. Matsumoto and T. Nishimura, "Mersenne Twister",
//! ACM TOMACS 8 (1998), with the initialization of 2002 (ISO/IEC 14882, rand.eng.mers). Envoy
//! orders the endpoints with it that it tries when one is overloaded.

const SIZE: usize = 624;
const MIDDLE: usize = 397;

/// 2.5 KB, on the stack; made only when an endpoint is overloaded.
pub(crate) struct MersenneTwister {
    words: [u32; SIZE],
    next: usize,
}

impl MersenneTwister {
    pub(crate) fn new(seed: u32) -> Self {
        let mut words = [seed; SIZE];
        for idx in 1..SIZE {
            let before = words[idx - 1];
            words[idx] =
                (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(idx as u32);
        }
        Self { words, next: 0 }
    }

    /// The next of 32 random bits. Words are renewed one by one as they are used, as usually few
    /// are.
    pub(crate) fn next(&mut self) -> u32 {
        let idx = self.next;
        let (after, middle) = ((idx + 1) % SIZE, (idx + MIDDLE) % SIZE);
        let joined = self.words[idx] & 0x8000_0000 | self.words[after] & 0x7fff_ffff;
        let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
        self.words[idx] = self.words[middle] ^ joined >> 1 ^ twist;
        self.next = after;

        let mut word = self.words[idx];
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// A number below `count`, which is not 0, as Envoy draws it: by division, which any standard
    /// library does alike, and again when it falls into the rest.
    pub(crate) fn below(&mut self, count: u32) -> u32 {
        let width = (1 << 32) / u64::from(count);
        loop {
            let number = u64::from(self.next()) / width;
            if number < u64::from(count) {
                return number as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    /// The standard requires 4123659995 as the 10,000th with the seed 5489.
    #[test]
    fn it_is_what_the_standard_requires() {
        let mut numbers = MersenneTwister::new(5489);
        let first: Vec<u32> = (0..3).map(|_| numbers.next()).collect();
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734]);
        assert_eq!((3..10_000).map(|_| numbers.next()).last(), Some(4_123_659_995));
        assert_eq!(MersenneTwister::new(0xcafe_babe).next(), 2_225_186_022);
    }

    #[test]
    fn numbers_are_below_the_count() {
        let mut numbers = MersenneTwister::new(1);
        for count in [1, 2, 3, 1000, u32::MAX] {
            assert!((0..100).all(|_| numbers.below(count) < count));
        }
    }
}
