"""Serra et al.'s six U-Nets, which fill gaps in magnitude spectrograms (WebMedia 2021)."""
