"""P-Net: the 2D network of BIFSeg, applied slice by slice (Wang et al., TMI 2018, fig. 3)."""

from InteractiveSegLib.networks.block_six import BlockSixNetwork


class PNet(BlockSixNetwork):
    """Full-resolution dilated 2D network; the paper's width is 64 channels, the shipped weights use fewer."""

    def __init__(self, channels: int = 64, compressed: int | None = None, dropout: float = 0.3) -> None:
        super().__init__(2, channels, compressed, dropout)
