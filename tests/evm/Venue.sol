// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Tells of filled orders and of shares that move, as the exchange and ERC-1155 do, and holds balances.
contract Venue {
    event OrderFilled(
        bytes32 indexed orderHash, address indexed maker, address indexed taker, uint8 side, uint256 tokenId,
        uint256 makerAmountFilled, uint256 takerAmountFilled, uint256 fee, bytes32 builder, bytes32 metadata
    );
    event TransferSingle(
        address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value
    );

    mapping(address => mapping(uint256 => uint256)) private held;

    // Each row: a wallet's order that a taker met. side 0: it buys shares for cash; 1: it sells them.
    struct Row { address wallet; address taker; uint8 side; uint256 token; uint256 shares; uint256 cash; }

    function settle(Row[] calldata rows) external {
        for (uint256 i = 0; i < rows.length; i++) {
            Row calldata row = rows[i];
            bool buys = row.side == 0;
            move(buys ? address(this) : row.wallet, buys ? row.wallet : address(this), row.token, row.shares);
            emit OrderFilled(
                keccak256(abi.encode(row, i, block.number)), row.wallet, row.taker, row.side, row.token,
                buys ? row.cash : row.shares, buys ? row.shares : row.cash, 0, 0, 0
            );
        }
    }

    function send(address from, address to, uint256 token, uint256 shares) external {
        move(from, to, token, shares);
    }

    function balanceOfBatch(address[] calldata owners, uint256[] calldata ids)
        external view returns (uint256[] memory found)
    {
        found = new uint256[](owners.length);
        for (uint256 i = 0; i < owners.length; i++) found[i] = held[owners[i]][ids[i]];
    }

    function move(address from, address to, uint256 token, uint256 shares) private {
        if (from != address(this)) held[from][token] -= shares;
        if (to != address(this)) held[to][token] += shares;
        emit TransferSingle(address(this), from, to, token, shares);
    }
}
