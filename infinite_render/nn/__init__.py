"""The network of InfinityGAN (Lin et al., ICLR 2022, arXiv 2104.03963), padding-free."""
