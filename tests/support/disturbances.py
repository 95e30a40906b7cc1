"""Random disturbances, for hypothesis."""

from hypothesis import strategies as st

from tmtrain.simulation.noise import Disturbance, Jitter, OneOff, RateDrift, SlowFlash
from tmtrain.trace import Phase


@st.composite
def disturbances(draw: st.DrawFn, *, within: int = 8) -> list[Disturbance]:
    """Draw up to three disturbances that begin in one of the first `within` steps."""
    step = st.integers(0, within)
    one = st.one_of(
        st.builds(Jitter, sigma=st.sampled_from([0.05, 0.3])),
        st.builds(OneOff, step=step, factor=st.sampled_from([3.0, 20.0]), share=st.sampled_from([0.3, 1.0])),
        st.builds(
            RateDrift,
            first_step=step,
            factor=st.sampled_from([0.3, 0.7, 1.3, 3.0]),
            phase=st.sampled_from([None, Phase.FORWARD]),
        ),
        st.builds(
            lambda factor, first, length: SlowFlash(
                factor=factor, first_step=first, last_step=first + length
            ),
            st.sampled_from([0.2, 0.7]),
            step,
            st.integers(0, 6),
        ),
    )
    return draw(st.lists(one, min_size=1, max_size=3))
