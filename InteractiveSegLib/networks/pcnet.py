"""PC-Net: the 3D network of BIFSeg, with each block's output compressed (Wang et al., TMI 2018, fig. 3)."""

from InteractiveSegLib.networks.block_six import BlockSixNetwork


class PCNet(BlockSixNetwork):
    """Full-resolution dilated 3D network; the paper's width is 64 channels compressed to 16 per block."""

    def __init__(self, channels: int = 64, compressed: int | None = 16, dropout: float = 0.3) -> None:
        super().__init__(3, channels, compressed, dropout)
